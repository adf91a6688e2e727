"""Wire formats of a stream that is passed on: its records, what each one says, how it ends."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from llava_serve import logs
from llava_serve.errors import DECLINED, LOST, ServeError, Unavailable, WorkerLost, not_answered
from llava_serve.protocol import llava, sse, usage
from llava_serve.protocol.usage import TokenCounts

# Of one stream. The largest record of ours is LLaVA's: all of a prompt and its answer, escaped.
MAX_HELD_BYTES = sse.MAX_EVENT_BYTES


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
    `kind_of` takes a record and the request's prompt; `not_answered` takes an error record and
    returns what the header `NOT_ANSWERED` would say, had the error come before the stream.
    """

    name: str  # in metrics
    path: str
    is_native: bool  # else LLaVA's, where every answer is a stream, and so is an error
    separator: bytes
    end: bytes | None
    kind_of: Callable[[bytes, str], RecordKind]
    not_answered: Callable[[bytes], str | None]
    usage_mark: bytes  # what a record with the usage begins with
    usage_of: Callable[[bytes], TokenCounts | None]
    encode_error: Callable[[ServeError], bytes]
    encode_sign_of_life: Callable[[str], bytes]  # takes the prompt


class Records:
    """Cuts a byte stream behind whole records, so that nothing is ever appended to half a one.

    What opens an answer is held back until its first text: until then another worker may be asked,
    and a client sees one opening only.
    """

    def __init__(self, wire: Wire, prompt: str = "") -> None:
        self._wire = wire
        self._prompt = prompt
        self._last = b""
        self._opening = bytearray()
        self._rest = bytearray()
        self.has_answered = False  # from here on the answer is this worker's alone
        self.refusal: bytes | None = None  # an error that came before any text

    @property
    def rest(self) -> bytes:
        """The beginning of a record whose end has not come."""
        return bytes(self._rest)

    @property
    def held_bytes(self) -> int:
        """How much came in and was neither passed on nor thrown away."""
        return len(self._rest) + len(self._opening)

    def feed(self, received: bytes) -> bytes:
        """Return the bytes to pass on, up to the last separator at most; they may be none."""
        separator = self._wire.separator
        searched_bytes = max(len(self._rest) - len(separator) + 1, 0)
        self._rest += received
        end = self._rest.rfind(separator, searched_bytes)
        if end < 0:
            return b""
        whole = bytes(self._rest[: end + len(separator)])
        del self._rest[: end + len(separator)]
        self._last = whole[:end].rpartition(separator)[2]
        return whole if self.has_answered else self._before_text(whole)

    def _before_text(self, whole: bytes) -> bytes:
        separator = self._wire.separator
        records = whole.split(separator)[:-1]
        alive = b""
        for at, record in enumerate(records):
            kind = self._wire.kind_of(record, self._prompt)
            if kind is RecordKind.SIGN_OF_LIFE:
                alive += record + separator
            elif kind is RecordKind.OPENING:
                self._opening += record + separator
            elif kind is RecordKind.ERROR:
                self.refusal = record
                break
            else:
                self.has_answered = True
                opening = bytes(self._opening)
                self._opening.clear()
                return alive + opening + separator.join(records[at:]) + separator
        return alive

    @property
    def has_ended(self) -> bool:
        """True behind a record after which nothing can come."""
        return self.has_failed or self._last == self._wire.end

    @property
    def has_failed(self) -> bool:
        return self._wire.kind_of(self._last, self._prompt) is RecordKind.ERROR


def _kind_of_event(record: bytes, _: str) -> RecordKind:
    if record.startswith(b'data: {"error"'):
        return RecordKind.ERROR
    if all(line.startswith(b":") for line in record.splitlines()):
        return RecordKind.SIGN_OF_LIFE
    return RecordKind.OPENING if _opens(record) else RecordKind.TEXT


def _opens(record: bytes) -> bool:
    """Tell whether a chunk holds nothing but the role, for each answer in it."""
    try:
        choices = json.loads(record.removeprefix(b"data: "))["choices"]
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
    if record.startswith(usage.LLAVA_MARK):
        return RecordKind.SIGN_OF_LIFE
    chunk = _object(record)
    if chunk.get("error_code"):
        return RecordKind.ERROR
    return RecordKind.SIGN_OF_LIFE if chunk.get("text") == prompt else RecordKind.TEXT


def _object(record: bytes) -> dict[str, Any]:
    try:
        content = json.loads(record)
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
    separator=b"\n\n",
    end=sse.encode(sse.DONE).strip(),
    kind_of=_kind_of_event,
    not_answered=_of_event,
    usage_mark=usage.COMMENT,
    usage_of=lambda record: usage.parse_usage(record.removeprefix(usage.COMMENT)),
    encode_error=lambda error: sse.encode(json.dumps(error.as_body(logs.request_id.get()))),
    encode_sign_of_life=lambda _: sse.KEEP_ALIVE,
)
LLAVA = Wire(
    name="llava",
    path="/worker_generate_stream",
    is_native=False,
    separator=llava.SEPARATOR,
    end=None,
    kind_of=_kind_of_chunk,
    not_answered=_of_chunk,
    usage_mark=usage.LLAVA_MARK,
    usage_of=lambda record: usage.usage_of(_object(record).get("usage")),
    encode_error=lambda error: llava.LlavaChunk.from_error(error).encode(),
    encode_sign_of_life=lambda prompt: llava.LlavaChunk(text=prompt).encode(),
)
