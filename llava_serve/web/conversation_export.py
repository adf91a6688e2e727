"""Export of a conversation: as JSON that can be imported, or as one page with all its files."""

from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from llava_serve.storage.listing import LONGEST_TITLE
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.tables import ConversationRow
from llava_serve.web import messages, render
from llava_serve.web.branches.versions import every
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.conversation_file import FORMAT
from llava_serve.web.persistence import restored
from llava_serve.web.reply import StreamedReply
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import current, translate

_PAGE = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template(
    "conversation.html"
)
_FACTS = ("prompt_tokens", "completion_tokens", "time_to_first_token_s", "tokens_per_s")


def as_json(row: ConversationRow, title: str, media: MediaStore) -> str:
    """Write a conversation with its files as `ConversationData`. It blocks.

    Raises:
        StorageFailed: a file cannot be read.
    """
    conversation = restored(row, media)
    exchanges = list(every(conversation.exchanges))
    has_branches = len(exchanges) > len(conversation.exchanges)
    places = {id(one): place for place, (one, _) in enumerate(exchanges)}
    shown = {id(one) for one in conversation.exchanges}
    brought: set[str] = set()

    def branch(one: Exchange, before: Exchange | None) -> dict[str, Any]:
        follows = -1 if before is None else places[id(before)]
        is_next = follows == places[id(one)] - 1
        return ({} if is_next else {"follows": follows}) | (
            {} if id(one) in shown else {"shown": False}
        )

    def bytes_of(file: StoredFile) -> messages.DataUri | str:
        if has_branches and file.sha256 in brought:
            return f"#{file.sha256}"
        brought.add(file.sha256)
        return messages.data_uri(media, file)

    return messages.dumps(
        {
            "format": FORMAT,
            "version": 2 if has_branches else 1,  # what older versions can read stays so
            # A battle whose names are known is a comparison.
            "kind": "chat" if conversation.kind == "chat" else "compare",
            "title": title[:LONGEST_TITLE],
            "created_at": _time(row).isoformat(timespec="seconds"),
            "parameters": conversation.parameters.kept(),
            "exchanges": [
                {
                    "question": exchange.text,
                    **branch(exchange, before),
                    "files": [{"name": one.name, "url": bytes_of(one)} for one in exchange.files],
                    "answers": [_answer(reply) for reply in exchange.replies],
                }
                for exchange, before in exchanges
            ],
        }
    )


def _answer(reply: StreamedReply) -> dict[str, Any]:
    details = reply.details()
    kept = ("state", "finish_reason", *_FACTS, "error")
    facts = {name: details[name] for name in kept if details.get(name) is not None}
    return {"model": reply.model, "text": reply.text, **facts}


def as_page(row: ConversationRow, title: str, media: MediaStore) -> str:
    """Write a conversation as HTML without scripts, with its files in it. It blocks.

    It is in the language of the request.

    Raises:
        StorageFailed: a file cannot be read.
    """

    def source(file: StoredFile) -> str:
        return messages.shown_uri(media, file).text

    return written(row, title, media, source, attrgetter("name"))


def written(
    row: ConversationRow,
    title: str,
    media: MediaStore,
    source: Callable[[StoredFile], str | None],
    named: Callable[[StoredFile], str],
) -> str:
    """Write a conversation as HTML; of each file the address, if it can be shown, and the name."""
    conversation: ChatState = restored(row, media)
    return _PAGE.render(
        language=current.get().tag,
        translate=translate,
        error_text=error_text,
        conversation=conversation,
        title=title,
        time=_time(row),
        source=source,
        named=named,
        model_text=render.model_text,
        facts=render.facts_of,
        note=render.note_of,
        letters=render.LETTERS,
    )


def _time(row: ConversationRow) -> datetime:
    return datetime.fromtimestamp(row.created_at, UTC)
