"""Counts of running requests by API key: answers, and tokens they are expected to take."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class KeyCount:
    """A number for each key: what this controller counts, and what the others do."""

    here: dict[str, int] = field(default_factory=dict)
    elsewhere: Mapping[str, int] = field(default_factory=dict)

    def add(self, key_id: str, amount: int) -> None:
        """Add what may be negative; a key of which nothing is left is forgotten."""
        if left := self.here.get(key_id, 0) + amount:
            self.here[key_id] = left
        else:
            self.here.pop(key_id, None)

    def of(self, key_id: str) -> int:
        return self.here.get(key_id, 0) + self.elsewhere.get(key_id, 0)


@dataclass(slots=True)
class KeyCounts:
    """What runs for the keys that have a limit of it."""

    answers: KeyCount = field(default_factory=KeyCount)
    tokens: KeyCount = field(default_factory=KeyCount)
