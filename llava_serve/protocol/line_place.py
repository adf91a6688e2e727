"""Place in line of a request that waits: a comment of its stream, `: waiting 3 of 9, about 8 s`."""

import re
from dataclasses import dataclass
from typing import Self

_COMMENT = re.compile(r":? ?waiting (\d{1,9}) of (\d{1,9})(?:, about (\d{1,9}) s)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LinePlace:
    """`number` 1 has the next turn; `length` wait for the model; `wait_s` is None where unknown."""

    number: int
    length: int
    wait_s: int | None = None

    @classmethod
    def parse(cls, comment: str) -> Self | None:
        """Return what a comment of a stream says; None where it says something else."""
        if (found := _COMMENT.fullmatch(comment.strip())) is None:
            return None
        number, length, wait_s = found.groups()
        return cls(int(number), int(length), None if wait_s is None else int(wait_s))

    def encode(self) -> bytes:
        """Return the comment, which clients skip that do not look for it."""
        return f": waiting {self.number} of {self.length}{self._about}\n\n".encode()

    @property
    def for_user(self) -> str:
        """What the page and the terminal show."""
        before = self.number - 1
        text = {0: "you are next", 1: "1 is before you"}.get(before, f"{before} are before you")
        return text + self._about

    @property
    def _about(self) -> str:
        return "" if self.wait_s is None else f", about {self.wait_s} s"
