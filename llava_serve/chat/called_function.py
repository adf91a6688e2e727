"""Called function: one call, read from the JSON object that a model writes, while it writes it."""

import json
import re
from typing import Any

_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*')


class CalledFunction:
    """A JSON object with a name and an object of arguments.

    Where the name comes first, as it nearly always does, the arguments are there as they are
    written; otherwise name and arguments are there once the object is complete.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self.name: str | None = None
        self._read: list[str] = []
        self._length = 0  # of what was read
        self._depth = 0
        self._is_in_string = self._is_escaped = False
        self._start: int | None = None  # of the arguments
        self._end: int | None = None

    @property
    def raw(self) -> str:
        """All that was read."""
        return "".join(self._read)

    def feed(self, text: str) -> tuple[str, str]:
        """Take what belongs to the object; returns new arguments, and what is left of the text."""
        before, taken = self._length, 0
        had_start = self._start is not None
        for letter in text:
            self._take(letter, before + taken)
            taken += 1
            if self.is_complete:
                break
        self._read.append(text[:taken])
        self._length += taken
        if self._start is not None and not had_start:
            head = _HEAD.fullmatch(self.raw, 0, self._start)
            self.name = head and _loaded(head[1], str)
        if self.name is not None and self._start is not None:
            end = self._length if self._end is None else self._end
            arguments = text[max(self._start - before, 0) : max(end - before, 0)]
        else:
            arguments = self._read_whole() if self.is_complete else ""
        return arguments, text[taken:]

    def _take(self, letter: str, at: int) -> None:
        if self._is_in_string:
            self._is_in_string = self._is_escaped or letter != '"'
            self._is_escaped = letter == "\\" and not self._is_escaped
        elif letter == '"':
            self._is_in_string = True
        elif letter in "{[":
            self._depth += 1
            if self._depth == 2 and self._start is None:
                self._start = at
        elif letter in "}]":
            self._depth -= 1
            if self._depth == 1 and self._end is None:
                self._end = at + 1
            self.is_complete = self._depth == 0

    def _read_whole(self) -> str:
        call = _loaded(self.raw, dict) or {}
        name = call.get("name")
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):  # JSON within JSON
            arguments = _loaded(arguments or "{}", dict)
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return ""
        self.name = name
        return json.dumps(arguments, ensure_ascii=False)


def _loaded(text: str, kind: type) -> Any:
    """Return what a text is in JSON; None where that is none of the kind."""
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
