"""What differs between the two wires when a stream is passed on: records, and how one ends."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from llava_serve import logs
from llava_serve.errors import ServeError
from llava_serve.protocol import llava, sse


@dataclass(frozen=True, slots=True)
class Wire:
    """Streams are sequences of records, each followed by `separator`.

    A whole stream ends with the record `end`, where the wire has one; a failed one with an error.
    """

    name: str  # in metrics
    path: str
    separator: bytes
    end: bytes | None
    is_error: Callable[[bytes], bool]
    encode_error: Callable[[ServeError], bytes]


class Records:
    """Cuts a byte stream behind whole records, so that nothing is ever appended to half a one."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._last = b""
        self.rest = b""  # the beginning of a record whose end has not come

    def feed(self, received: bytes) -> bytes:
        """Return the bytes up to the last separator, unchanged; they may be none."""
        separator = self._wire.separator
        data = self.rest + received
        end = data.rfind(separator)
        if end < 0:
            self.rest = data
            return b""
        self._last = data[:end].rpartition(separator)[2]
        self.rest = data[end + len(separator) :]
        return data[: end + len(separator)]

    @property
    def has_ended(self) -> bool:
        """True behind a record after which nothing can come."""
        return self.has_failed or self._last == self._wire.end

    @property
    def has_failed(self) -> bool:
        return self._wire.is_error(self._last)


def _is_error_chunk(record: bytes) -> bool:
    try:
        return bool(json.loads(record)["error_code"])
    except (ValueError, KeyError, TypeError):
        return False


NATIVE = Wire(
    name="native",
    path="/v1/chat/completions",
    separator=b"\n\n",
    end=sse.encode(sse.DONE).strip(),
    is_error=lambda record: record.startswith(b'data: {"error"'),
    encode_error=lambda error: sse.encode(json.dumps(error.as_body(logs.request_id.get()))),
)
OLD = Wire(
    name="llava",
    path="/worker_generate_stream",
    separator=llava.SEPARATOR,
    end=None,
    is_error=_is_error_chunk,
    encode_error=lambda error: llava.OldChunk.from_error(error).encode(),
)
