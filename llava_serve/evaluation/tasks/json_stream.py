"""Entries of a JSON file, read one at a time: a file of annotations need not fit into memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.task_files import unreadable

_CHUNK_CHARS = 1 << 16
_MAX_ENTRY_CHARS = 1 << 24
_SPACE = " \t\r\n"


def array_entries(path: Path, member: str | None = None) -> Iterator[Any]:
    """Yield the entries of an array: the file's own, or that under `member` of its object.

    Raises:
        CommandError: the file cannot be read, is not JSON or has no such array; names file and
            place.
    """
    with _opened(path) as scanner:
        if member is not None and scanner.peek() == "{":
            _seek_member(scanner, member)
        yield from _array(scanner)


def object_entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the members of the file's object as names and values.

    Raises:
        CommandError: the file cannot be read, or is not a JSON object; names file and place.
    """
    with _opened(path) as scanner:
        scanner.take("{")
        if scanner.take("}", needed=False):
            return
        while True:
            name = scanner.value()
            scanner.take(":")
            yield str(name), scanner.value()
            if scanner.take("}", needed=False):
                return
            scanner.take(",")


@contextmanager
def _opened(path: Path) -> Iterator["_Scanner"]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield _Scanner(path, file)
    except OSError as exc:
        raise unreadable(path, exc) from exc


def _seek_member(scanner: "_Scanner", member: str) -> None:
    scanner.take("{")
    while True:
        if scanner.peek() == "}":
            scanner.refuse(f"it has no list {member!r}")
        name = scanner.value()
        scanner.take(":")
        if name == member:
            return
        scanner.value()
        scanner.take(",", needed=False)


def _array(scanner: "_Scanner") -> Iterator[Any]:
    scanner.take("[")
    if scanner.take("]", needed=False):
        return
    while True:
        yield scanner.value()
        if scanner.take("]", needed=False):
            return
        scanner.take(",")


class _Scanner:
    """A window over the file's text, moved on from one value to the next."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._decoder = json.JSONDecoder()
        self._window = ""
        self._at = 0
        self._before = 0  # characters in front of the window
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not space; empty at the end of the file."""
        while True:
            while self._at < len(self._window):
                if (character := self._window[self._at]) not in _SPACE:
                    return character
                self._at += 1
            if self._ended:
                return ""
            self._widen()

    def take(self, character: str, needed: bool = True) -> bool:
        """Step over a character; False where another one is next and this is not `needed`."""
        if self.peek() == character:
            self._at += 1
            return True
        if needed:
            self.refuse(f"{character!r} should stand there")
        return False

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._at)
            except json.JSONDecodeError as exc:
                if self._ended or len(self._window) - self._at > _MAX_ENTRY_CHARS:
                    self.refuse(exc.msg)
            else:
                if end < len(self._window) or self._ended:  # else a number may go on
                    self._at = end
                    return value
            self._widen()

    def refuse(self, reason: str) -> NoReturn:
        raise CommandError(
            f"{self._path} cannot be read: at character {self._before + self._at}, {reason}",
            "Get the file anew: it is cut off, or is another one.",
        )

    def _widen(self) -> None:
        """Drop what was read and read on: at least as much as is kept, so that long values end."""
        self._before += self._at
        self._window = self._window[self._at :]
        self._at = 0
        try:
            more = self._file.read(max(_CHUNK_CHARS, len(self._window)))
        except UnicodeDecodeError:
            self.refuse("it is not text in UTF-8")
        self._ended = not more
        self._window += more
