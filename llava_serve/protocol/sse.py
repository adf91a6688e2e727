"""Server-sent events: bytes of one event, and events out of any cut of the byte stream."""

from collections.abc import Callable, Iterator

from llava_serve.errors import EventTooLarge

DONE = "[DONE]"
SEPARATOR = b"\n\n"  # behind each event
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies must not buffer
MEDIA_TYPE = "text/event-stream"
MAX_EVENT_BYTES = 8_000_000


def encode(data: str) -> bytes:
    """Frame one event; `data` has no line breaks (JSON never needs them)."""
    return f"data: {data}\n\n".encode()


def encode_named(name: str, data: bytes) -> bytes:
    """Frame one event that has a name; `data` has no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


class EventDecoder:
    """Collects bytes and gives back the `data` of each event that is complete.

    Comments go to `on_comment`, each with its colon.
    """

    def __init__(self, on_comment: Callable[[str], None] = lambda comment: None) -> None:
        self._on_comment = on_comment
        self._line = bytearray()  # the beginning of a line whose end has not come
        self._data: list[str] = []  # of the event whose end has not come
        self._size_bytes = 0  # of that event

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the events that end in `chunk`.

        Raises:
            EventTooLarge: an event is larger than any that this stack sends.
        """
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            self._add(end)
            line = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" ").decode())
            elif line.startswith(b":"):
                self._on_comment(line.decode(errors="replace"))
            elif not line:
                data, self._data, self._size_bytes = self._data, [], 0
                if data:
                    yield "\n".join(data)
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._line += part
        self._size_bytes += len(part)
        if self._size_bytes > MAX_EVENT_BYTES:
            raise EventTooLarge(MAX_EVENT_BYTES)
