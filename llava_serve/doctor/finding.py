"""Finding of a check: what it looked at, how it is, and what to do."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; a `remedy` comes with everything that is not ok."""

    check: str
    level: Level
    message: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The finding as people read it."""
        said = f"{self.message}. {self.remedy}" if self.remedy else self.message
        return f"{self.level:<8} {self.check:<12} {said}"
