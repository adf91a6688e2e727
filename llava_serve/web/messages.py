"""Messages of a chat request: a conversation as a model gets it, and its text as JSON.

Images in it are copied, not searched for what JSON escapes.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llava_serve.errors import BodyTooLarge
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web.chat_state import Exchange

CONTINUES = "continue_final_message"
# What a stopped reply has used is known from its last chunk.
_COUNTED = {"stream_options": {"continuous_usage_stats": True}}


@dataclass(frozen=True, slots=True)
class DataUri:
    """A `data:` URI in base64: not one of its characters means anything in JSON."""

    text: str


def request_body(
    exchanges: Sequence[Exchange], uri_of: Callable[[StoredFile], DataUri], slot: int = 0
) -> dict[str, Any]:
    """Return the request for the reply in `slot` of the last exchange, of which nothing has come.

    Text that it has is to be continued.
    """
    reply = exchanges[-1].replies[slot]
    said = messages(exchanges, uri_of, reply.asked.system, slot)
    body = {"model": reply.model, "messages": said, **reply.asked.fields(), **_COUNTED}
    return body | {CONTINUES: True} if reply.text else body


def messages(
    exchanges: Sequence[Exchange],
    uri_of: Callable[[StoredFile], DataUri],
    system: str,
    slot: int = 0,
) -> list[dict[str, Any]]:
    """Return the conversation as the model in `slot` knows it.

    A question that got no answer joins the one after it: templates want turns to alternate. One
    that was refused for its files or its length is left out: with it all that follows would be
    refused too.
    An answer still to come has no text, so that a question ends the messages; where an answer
    does, the model is to continue it.
    """
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for exchange in exchanges:
        if exchange.is_left_out(slot):
            continue
        kinds = [(f"{file.filetype.kind}_url", uri_of(file)) for file in exchange.files]
        parts: list[dict[str, Any]] = [{"type": kind, kind: {"url": uri}} for kind, uri in kinds]
        if exchange.text:
            parts.append({"type": "text", "text": exchange.text})
        if said and said[-1]["role"] == "user":
            said[-1]["content"] += parts
        else:
            said.append({"role": "user", "content": parts})
        if slot < len(exchange.replies) and (text := exchange.replies[slot].text):
            said.append({"role": "assistant", "content": text})
    return said


def check_size(file_bytes: int, limit_bytes: int) -> None:
    """Refuse what would not fit into one request, before any file is read.

    Raises:
        BodyTooLarge: files of so many bytes, in base64, are beyond the limit.
    """
    if file_bytes * 4 / 3 > limit_bytes:
        raise BodyTooLarge(limit_bytes)


def uri_of_bytes(data: bytes, mime: str) -> DataUri:
    """Return a file's bytes as the wire carries them."""
    return DataUri(f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}")


def data_uri(media: MediaStore, file: StoredFile) -> DataUri:
    """Read a file as the wire carries it. It blocks."""
    return uri_of_bytes(media.read(file), file.filetype.mime)


def sha256_of(uri: DataUri) -> str:
    """Return the SHA-256 of the bytes that a URI carries. It blocks."""
    return hashlib.sha256(base64.b64decode(uri.text.partition(",")[2])).hexdigest()


def shown_uri(media: MediaStore, file: StoredFile) -> DataUri:
    """Read what the page shows of a file. It blocks."""
    return uri_of_bytes(media.read_shown(file), file.filetype.shown_mime)


def dumps(body: dict[str, Any]) -> str:
    """Encode a request body.

    `json.dumps` takes one to two seconds for 50 MB and holds the interpreter all the while, on a
    thread too; to copy them takes an eighth. So the URIs are put into the text around them.
    """
    uris: list[str] = []
    mark = secrets.token_hex(16)  # nothing a user types can be it

    def mark_of(uri: DataUri) -> str:
        uris.append(uri.text)
        return mark

    parts = json.dumps(body, default=mark_of).split(mark)
    return "".join(part for pair in zip(parts, [*uris, ""], strict=True) for part in pair)
