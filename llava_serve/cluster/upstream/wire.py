"""Wire formats of a stream that is passed on: what its records say, and how it ends."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from pydantic_core import from_json

from llava_serve import logs
from llava_serve.errors import DECLINED, LOST, ServeError, Unavailable, WorkerLost, not_answered
from llava_serve.protocol import llava, sse
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.usage import USAGE_MARK


class RecordKind(Enum):
    """What a record says of its answer."""

    SIGN_OF_LIFE = auto()  # the answer has yet to begin
    OPENING = auto()  # it begins, and has no text yet
    TEXT = auto()  # or anything else that only one worker may send
    ERROR = auto()


@dataclass(frozen=True, slots=True)
class Wire:
    """Streams are sequences of records, each followed by `separator`.

    A whole stream ends with the record `end`, where the wire has one; a failed one with an error.
    `resumed` tells clients that another worker goes on, where the wire has comments.
    `kind_of` takes a record and the request's prompt; `not_answered` takes an error record and
    returns what the header `NOT_ANSWERED` would say, had the error come before the stream.
    """

    name: str  # in metrics
    path: str
    is_native: bool  # else LLaVA's, where every answer is a stream, and so is an error
    separator: bytes
    end: bytes | None
    resumed: bytes
    kind_of: Callable[[bytes, str], RecordKind]
    not_answered: Callable[[bytes], str | None]
    encode_error: Callable[[ServeError], bytes]
    encode_sign_of_life: Callable[[str, LinePlace | None], bytes]  # takes the prompt
    stream_headers: Mapping[str, str]


def _kind_of_event(record: bytes, _: str) -> RecordKind:
    if record.startswith(b'data: {"error"'):
        return RecordKind.ERROR
    if all(line.startswith(b":") for line in record.splitlines()):
        return RecordKind.SIGN_OF_LIFE
    return RecordKind.OPENING if _opens(record) else RecordKind.TEXT


def _opens(record: bytes) -> bool:
    """Tell whether a chunk holds nothing but the role, for each answer in it."""
    try:
        choices = from_json(record.removeprefix(b"data: "))["choices"]
        said = [
            value
            for choice in choices
            for name, value in (*choice.items(), *choice["delta"].items())
            if name not in ("index", "delta", "role")
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(choices) and not any(said)


def _kind_of_chunk(record: bytes, prompt: str) -> RecordKind:
    if record.startswith(USAGE_MARK):
        return RecordKind.SIGN_OF_LIFE
    chunk = _object(record)
    if chunk.get("error_code"):
        return RecordKind.ERROR
    return RecordKind.SIGN_OF_LIFE if chunk.get("text") == prompt else RecordKind.TEXT


def _object(record: bytes) -> dict[str, Any]:
    try:
        content = from_json(record)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _of_event(record: bytes) -> str | None:
    error = _object(record.removeprefix(b"data: ")).get("error")
    return not_answered(str(error.get("code"))) if isinstance(error, dict) else None


def _of_chunk(record: bytes) -> str | None:
    number = _object(record).get("error_code")
    if number == WorkerLost.number:
        return LOST
    return DECLINED if number == Unavailable.number else None


NATIVE = Wire(
    name="native",
    path="/v1/chat/completions",
    is_native=True,
    separator=sse.SEPARATOR,
    end=sse.encode(sse.DONE).strip(),
    resumed=b": resumed\n\n",
    kind_of=_kind_of_event,
    not_answered=_of_event,
    encode_error=lambda error: sse.encode(json.dumps(error.as_body(logs.request_id.get()))),
    encode_sign_of_life=lambda _, place: place.encode() if place else sse.KEEP_ALIVE,
    stream_headers={"content-type": sse.MEDIA_TYPE} | sse.HEADERS,
)
COMPLETIONS = replace(NATIVE, name="completions", path="/v1/completions")
TOKENIZATION = replace(NATIVE, name="tokenization", path="/tokenize")
DETOKENIZATION = replace(NATIVE, name="detokenization", path="/detokenize")
INSPECTION = replace(NATIVE, name="inspection", path="/v1/inspect")
INSPECTION_WITH_PIXELS = replace(INSPECTION, path="/v1/inspect?pixels=true")
LLAVA = Wire(
    name="llava",
    path="/worker_generate_stream",
    is_native=False,
    separator=llava.SEPARATOR,
    end=None,
    resumed=b"",
    kind_of=_kind_of_chunk,
    not_answered=_of_chunk,
    encode_error=lambda error: llava.LlavaChunk.from_error(error).encode(),
    encode_sign_of_life=lambda prompt, _: llava.LlavaChunk(text=prompt).encode(),
    stream_headers={"content-type": "application/octet-stream"},
)
