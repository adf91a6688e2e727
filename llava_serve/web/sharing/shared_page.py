"""Shared page: a conversation for everybody, without what its files tell beside their pictures."""

import gzip
import hashlib
from collections import Counter

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.storage.listing import title_of
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.published import published
from llava_serve.storage.tables import ConversationRow
from llava_serve.web import conversation_export, messages
from llava_serve.web.heavy_work import GoOn
from llava_serve.web.translations.language import translate

_COMPRESSION = 1  # most of it are pictures, which are compressed already


def gzipped(row: ConversationRow, media: MediaStore, go_on: GoOn) -> bytes:
    """Write a conversation as HTML, with its files in it, compressed. It blocks.

    Its title is its first question, for a title is for the user alone, and the names of files too.

    Raises:
        StorageFailed: a file cannot be read.
    """
    counts = Counter[str]()

    def named(file: StoredFile) -> str:
        key = "share.video" if file.filetype.needs_player else "share.picture"
        counts[key] += 1
        return translate(key, number=counts[key])

    def source(file: StoredFile) -> str | None:
        go_on()
        if file.filetype.has_rendition:  # it was drawn anew, and has nothing else in it
            return messages.shown_uri(media, file).text
        try:
            return messages.uri_of_bytes(*published(media.read(file), file.filetype)).text
        except (MediaUnreadable, MediaTooLarge):
            return None

    html = conversation_export.written(row, _title_of(row), media, source, named)
    go_on()
    return gzip.compress(html.encode(), _COMPRESSION, mtime=0)


def version_of(row: ConversationRow) -> str:
    """Name the content of a conversation: what is shown changes with nothing else."""
    turns = [
        (turn.id, turn.text, turn.model, turn.details, [one.sha256 for one in turn.media])
        for turn in row.turns
    ]
    return hashlib.sha256(repr((row.id, row.created_at, turns)).encode()).hexdigest()


def _title_of(row: ConversationRow) -> str:
    first = next((turn for turn in row.turns if turn.role == "user"), None)
    text = "" if first is None else first.text
    return title_of(text) or translate("past.untitled")
