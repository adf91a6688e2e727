"""Tally of the votes on two models: what a rating is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Winner = Literal["a", "b", "tie", "both_bad"]
WINNERS: tuple[Winner, ...] = get_args(Winner)
Tag = Literal["text", "counting", "scene", "chart", "other"]
TAGS: tuple[Tag, ...] = get_args(Tag)


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes on answers of two models whose lengths differ by the same fraction.

    `length_difference` is (a - b) / (a + b) of the lengths of both answers, from -1 to 1.
    """

    model_a: str
    model_b: str
    wins_a: int = 0
    wins_b: int = 0
    ties: int = 0
    both_bad: int = 0
    length_difference: float = 0.0

    @property
    def votes(self) -> int:
        return self.wins_a + self.wins_b + self.ties + self.both_bad

    def swapped(self) -> "Tally":
        """Return the same votes with the sides exchanged."""
        return Tally(
            self.model_b,
            self.model_a,
            self.wins_b,
            self.wins_a,
            self.ties,
            self.both_bad,
            -self.length_difference,
        )

    def __add__(self, other: "Tally") -> "Tally":
        """Add votes on the same models at the same difference."""
        return Tally(
            self.model_a,
            self.model_b,
            self.wins_a + other.wins_a,
            self.wins_b + other.wins_b,
            self.ties + other.ties,
            self.both_bad + other.both_bad,
            self.length_difference,
        )


def models_of(tallies: Sequence[Tally]) -> list[str]:
    """Return the models that votes name, sorted."""
    return sorted({name for one in tallies for name in (one.model_a, one.model_b)})
