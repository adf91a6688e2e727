"""Called function: one call, read from the JSON object that a model writes, while it writes it."""

import json
import re
from typing import Any

_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*')


class CalledFunction:
    """A JSON object with a name and an object of arguments.

    Where the name comes first, as it nearly always does, `arguments` grow as they are written;
    otherwise name and arguments are there once the object is complete.
    """

    def __init__(self) -> None:
        self.raw = ""
        self.is_complete = False
        self.name: str | None = None
        self._arguments: str | None = None  # where they did not grow
        self._depth = 0
        self._is_in_string = self._is_escaped = False
        self._start: int | None = None  # of the arguments in `raw`
        self._end: int | None = None

    @property
    def arguments(self) -> str:
        """What there is of them, as the model writes it."""
        if self._arguments is not None or self.name is None:
            return self._arguments or ""
        return self.raw[self._start : self._end]

    def feed(self, text: str) -> str:
        """Take what belongs to the object; returns what is left of the text."""
        taken = 0
        for letter in text:
            self._take(letter, len(self.raw) + taken)
            taken += 1
            if self.is_complete:
                break
        self.raw += text[:taken]
        if self.name is None and self._start is not None:
            head = _HEAD.fullmatch(self.raw, 0, self._start)
            self.name = head and _loaded(head[1], str)
        if self.is_complete and self.name is None:
            self._read_whole()
        return text[taken:]

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

    def _read_whole(self) -> None:
        call = _loaded(self.raw, dict) or {}
        name = call.get("name")
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):  # JSON within JSON
            arguments = _loaded(arguments or "{}", dict)
        if isinstance(name, str) and isinstance(arguments, dict):
            self.name, self._arguments = name, json.dumps(arguments, ensure_ascii=False)


def _loaded(text: str, kind: type) -> Any:
    """Return what a text is in JSON; None where that is none of the kind."""
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
