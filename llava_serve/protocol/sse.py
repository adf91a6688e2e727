"""Server-sent events: bytes of one event, and events out of any cut of the byte stream."""

import codecs
from collections.abc import Iterator

DONE = "[DONE]"
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies must not buffer
MEDIA_TYPE = "text/event-stream"


def encode(data: str) -> bytes:
    """Frame one event; `data` has no line breaks (JSON never needs them)."""
    return f"data: {data}\n\n".encode()


class EventDecoder:
    """Collects bytes and gives back the `data` of each event that is complete; comments vanish."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""

    def feed(self, chunk: bytes) -> Iterator[str]:
        # The whole rest: a cut may lie between the two characters of a line end.
        self._rest = (self._rest + self._decode.decode(chunk)).replace("\r\n", "\n")
        *events, self._rest = self._rest.split("\n\n")
        for event in events:
            lines = [
                line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:")
            ]
            if lines:
                yield "\n".join(lines)
