"""Export of a conversation: as JSON that can be imported, or as one page with all its files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from llava_serve.storage.listing import LONGEST_TITLE
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.tables import ConversationRow
from llava_serve.web import messages, render
from llava_serve.web.chat_state import ChatState
from llava_serve.web.conversation_file import FORMAT
from llava_serve.web.persistence import restored
from llava_serve.web.reply import StreamedReply

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
    return messages.dumps(
        {
            "format": FORMAT,
            "version": 1,
            # A battle whose names are known is a comparison.
            "kind": "chat" if conversation.kind == "chat" else "compare",
            "title": title[:LONGEST_TITLE],
            "created_at": _time(row).isoformat(timespec="seconds"),
            "parameters": conversation.parameters.kept(),
            "exchanges": [
                {
                    "question": exchange.text,
                    "files": [_file(file, media) for file in exchange.files],
                    "answers": [_answer(reply) for reply in exchange.replies],
                }
                for exchange in conversation.exchanges
            ],
        }
    )


def _file(file: StoredFile, media: MediaStore) -> dict[str, Any]:
    return {"name": file.name, "url": messages.data_uri(media, file)}


def _answer(reply: StreamedReply) -> dict[str, Any]:
    details = reply.details()
    kept = ("state", "finish_reason", *_FACTS, "error")
    facts = {name: details[name] for name in kept if details.get(name) is not None}
    return {"model": reply.model, "text": reply.text, **facts}


def as_page(row: ConversationRow, title: str, media: MediaStore) -> str:
    """Write a conversation as HTML without scripts, with its files in it. It blocks.

    Raises:
        StorageFailed: a file cannot be read.
    """
    conversation: ChatState = restored(row, media)

    def source(file: StoredFile) -> str:
        return messages.shown_uri(media, file).text

    return _PAGE.render(
        conversation=conversation,
        title=title,
        time=_time(row),
        source=source,
        model_text=render.model_text,
        facts=render.facts_of,
        note=render.note_of,
        letters=render.LETTERS,
    )


def _time(row: ConversationRow) -> datetime:
    return datetime.fromtimestamp(row.created_at, UTC)
