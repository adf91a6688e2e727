"""Where the elements of a JSON array lie in its file, however large the file is."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from llava_serve.errors import CommandError

_CHUNK_BYTES = 1 << 20
LONGEST_BYTES = 64 << 20  # of one entry: a longer one is a file whose form is another
REMEDY = (
    "Repair the file, or write it anew: a JSON array of objects, or one object a line (.jsonl)."
)

# A character of the texts here is a byte of the file.
_STRING = r'"(?:[^"\\]++|\\.)*+"'
_SPACE = re.compile(r"[ \t\r\n]*+")
# Up to and with the next bracket that is not in a string.
_BRACKET = re.compile(r'(?:[^"\[\]{}]++|' + _STRING + r")*+([\[\]{}])", re.DOTALL)
_SCALAR = re.compile(_STRING + r'|[^"\[\]{},: \t\r\n]++', re.DOTALL)
_BOM = "\xef\xbb\xbf"
_DECODER = json.JSONDecoder(strict=False)


def element_places(path: Path, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """Yield where each element of the array begins and ends, in bytes of the file.

    Of an element only the brackets are looked at, so what is yielded need not be JSON.

    Raises:
        CommandError: the file cannot be read, is no array, or ends too early.
    """
    try:
        with path.open("rb") as file:
            reader = _ArrayReader(path, file.read, chunk_bytes)
            yield from reader.elements()
    except OSError as exc:
        raise CommandError(f"{path} cannot be read: {exc}", "Check the path.") from exc


class _ArrayReader:
    """Holds the bytes from the element on that is being read."""

    def __init__(self, path: Path, read: Callable[[int], bytes], chunk_bytes: int) -> None:
        self._path = path
        self._read = read
        self._chunk_bytes = chunk_bytes
        self._held = ""
        self._start = 0  # of what is held, in the file
        self._at = 0  # in what is held: all before was read
        self._element_at = 0  # in what is held: all before may be forgotten
        self._is_at_end = False
        self._count = 0

    def elements(self) -> Iterator[tuple[int, int]]:
        if self._next() == _BOM[:1]:
            self._expect(_BOM)
        self._expect("[")
        if self._next() != "]":
            yield self._element()
            while self._next() == ",":
                self._at += 1
                self._next()
                yield self._element()
        self._expect("]")
        if self._next():
            raise self._fault("goes on behind the array")

    def _element(self) -> tuple[int, int]:
        self._element_at = self._at
        begin = self._start + self._at
        self._count += 1
        if self._byte() in ("{", "["):
            self._skip_brackets()
        else:
            self._skip_scalar()
        return begin, self._start + self._at

    def _skip_brackets(self) -> None:
        try:
            _, self._at = _DECODER.raw_decode(self._held, self._at)
        except (ValueError, RecursionError):  # it goes on behind what is held, or is no JSON
            self._count_brackets()

    def _count_brackets(self) -> None:
        depth = 0
        while True:
            found = _BRACKET.match(self._held, self._at)
            if found is None:
                self._extend()
                continue
            self._at = found.end()
            depth += 1 if found[1] in "[{" else -1
            if depth == 0:
                return

    def _skip_scalar(self) -> None:
        while True:
            found = _SCALAR.match(self._held, self._at)
            if found is not None and found.end() < len(self._held):
                self._at = found.end()
                return
            if found is None and self._byte() not in ("", '"'):
                raise self._fault(f"has {self._byte()!r} where an element should be")
            self._extend()

    def _next(self) -> str:
        """Skip white space, and return the byte behind it; empty at the end of the file."""
        while True:
            found = _SPACE.match(self._held, self._at)
            self._at = found.end() if found else self._at
            self._element_at = self._at
            if self._at < len(self._held) or not self._fill():
                return self._byte()

    def _byte(self) -> str:
        return self._held[self._at : self._at + 1]

    def _expect(self, text: str) -> None:
        self._next()
        while len(self._held) - self._at < len(text) and self._fill():
            pass
        if not self._held.startswith(text, self._at):
            seen = f"has {self._byte()!r}" if self._byte() else "ends"
            raise self._fault(f"{seen} where {text!r} should be")
        self._at += len(text)

    def _extend(self) -> None:
        """Read on within an element."""
        if len(self._held) - self._element_at > LONGEST_BYTES:
            raise self._fault(f"has an element of more than {LONGEST_BYTES >> 20} MiB")
        if not self._fill():
            raise self._fault("ends within an element")

    def _fill(self) -> bool:
        """Read on, and say whether there was more."""
        more = b"" if self._is_at_end else self._read(self._chunk_bytes)
        self._is_at_end = not more
        self._held = self._held[self._element_at :] + more.decode("latin-1")
        self._start += self._element_at
        self._at -= self._element_at
        self._element_at = 0
        return bool(more)

    def _fault(self, what: str) -> CommandError:
        place = f"behind {self._count} elements, at byte {self._start + self._element_at}"
        return CommandError(f"{self._path} {what} ({place})", REMEDY)
