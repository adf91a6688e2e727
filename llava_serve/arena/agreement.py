"""Agreement of two voters on the same battles: rate, and Cohen's kappa."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """`kappa` is 1 where they always agree and 0 where they do as often as by chance.

    Both are None where there is nothing to tell them from.
    """

    battles: int
    rate: float | None
    kappa: float | None


def agreement(votes: Mapping[tuple[str, str], int]) -> Agreement:
    """Compare two voters; `votes` counts battles by what each of them found.

    Whether two answers are as good or as bad as each other makes no difference here.

    Source: Cohen 1960, "A Coefficient of Agreement for Nominal Scales".
    """
    counts: Counter[tuple[str, str]] = Counter()
    for (one, other), count in votes.items():
        counts[_category(one), _category(other)] += count
    battles = sum(counts.values())
    if battles == 0:
        return Agreement(0, None, None)
    agreed = sum(count for (one, other), count in counts.items() if one == other) / battles
    by_chance = 0.0
    for category in ("a", "b", "tie"):
        of_one = sum(count for (one, _), count in counts.items() if one == category)
        of_other = sum(count for (_, other), count in counts.items() if other == category)
        by_chance += of_one * of_other / battles**2
    kappa = None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)
    return Agreement(battles, agreed, kappa)


def _category(winner: str) -> str:
    return "tie" if winner == "both_bad" else winner
