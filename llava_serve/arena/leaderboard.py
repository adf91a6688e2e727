"""Leaderboard: models by their ratings, each with an interval, and how each did against each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llava_serve.arena.bradley_terry import Fit, Floats, Votes, bootstrap, fit
from llava_serve.arena.tally import Tally, models_of

# Points of Elo: 400 more are odds of 10 to 1. Source: Chiang et al. 2024, arXiv:2403.04132.
_SCALE, _MEAN = 400 / np.log(10), 1000
_SAMPLES = 400
_INTERVAL = (2.5, 97.5)  # percentiles
_LENGTH_TENTH = 0.1


@dataclass(frozen=True, slots=True)
class Standing:
    """A model's place; without a rating no chain of votes connects it with the others.

    `rank` is one more than the number of models whose whole interval lies above this one's.
    `is_one_sided` says that it, or a group it is in, won or lost all votes on the others: then
    its distance to them is the prior's and not the votes'.
    """

    model: str
    votes: int
    rank: int | None = None
    rating: float | None = None
    low: float | None = None
    high: float | None = None
    is_one_sided: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """How often a model won against another; a tie is half a win."""

    votes: int
    win_rate: float


@dataclass(frozen=True)
class Leaderboard:
    """`records` are by (model, opponent); `length_points` is what an answer gains by its length.

    That is: the points for an answer longer by a tenth of both together; None where lengths were
    not looked at.
    """

    standings: tuple[Standing, ...]
    records: dict[tuple[str, str], Record]
    votes: int
    ties: int
    both_bad: int
    length_points: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "votes": self.votes,
            "ties": self.ties,
            "both_bad": self.both_bad,
            "length_points": self.length_points,
            "models": [asdict(one) for one in self.standings],
            "records": [
                {"model": model, "against": against, **asdict(record)}
                for (model, against), record in self.records.items()
            ],
        }


def leaderboard(tallies: Sequence[Tally], *, style_control: bool = False) -> Leaderboard:
    """Rate the models of the votes, the best first; the same votes give the same numbers.

    With `style_control` what longer answers win by their length is no part of a rating.
    """
    tallies = _merged(tallies, style_control)
    rated = _main_group(tallies)
    within = [one for one in tallies if one.model_a in rated]
    fitted = _fit(within, rated, style_control) if rated else None
    votes = _votes_by_model(tallies)
    standings = [] if fitted is None else _standings(rated, fitted, votes, _one_sided(within))
    left = [Standing(name, votes[name]) for name in models_of(tallies) if name not in rated]
    slope = fitted[0].slope * _SCALE * _LENGTH_TENTH if fitted and style_control else None
    return Leaderboard(
        standings=tuple(standings + left),
        records=_records(tallies),
        votes=sum(one.votes for one in tallies),
        ties=sum(one.ties for one in tallies),
        both_bad=sum(one.both_bad for one in tallies),
        length_points=slope,
    )


def _merged(tallies: Sequence[Tally], by_length: bool) -> list[Tally]:
    """Return one tally for each two models, or with `by_length` one for each of their differences.

    Which of the models was A makes no difference.
    """
    merged: dict[tuple[str, str, float], Tally] = {}
    for tally in tallies:
        one = tally if tally.model_a <= tally.model_b else tally.swapped()
        one = one if by_length else replace(one, length_difference=0.0)
        pair = (one.model_a, one.model_b, one.length_difference)
        merged[pair] = one + merged[pair] if pair in merged else one
    return [merged[pair] for pair in sorted(merged) if merged[pair].votes]


def _fit(
    tallies: Sequence[Tally], models: Sequence[str], style_control: bool
) -> tuple[Fit, Floats, Floats]:
    """Return the fit, and the ends of the strengths' intervals."""
    index = {name: place for place, name in enumerate(models)}
    differences = np.array([one.length_difference for one in tallies])
    votes = Votes(
        np.array([index[one.model_a] for one in tallies]),
        np.array([index[one.model_b] for one in tallies]),
        np.array([float(one.wins_a) for one in tallies]),
        np.array([float(one.wins_b) for one in tallies]),
        np.array([float(one.ties + one.both_bad) for one in tallies]),
        differences if style_control else None,
    )
    low, high = np.percentile(bootstrap(votes, len(models), samples=_SAMPLES), _INTERVAL, axis=0)
    return fit(votes, len(models)), low, high


def _standings(
    models: Sequence[str],
    fitted: tuple[Fit, Floats, Floats],
    votes: dict[str, int],
    one_sided: set[str],
) -> list[Standing]:
    ends = zip(fitted[0].strengths, fitted[1], fitted[2], strict=True)
    points = [[float(_MEAN + _SCALE * one) for one in of_model] for of_model in ends]
    standings = [
        Standing(
            model=name,
            votes=votes[name],
            rank=1 + sum(other[1] > high for other in points),
            rating=rating,
            low=min(low, rating),
            high=max(high, rating),
            is_one_sided=name in one_sided,
        )
        for name, (rating, low, high) in zip(models, points, strict=True)
    ]
    return sorted(standings, key=lambda one: (-(one.rating or 0), one.model))


def _main_group(tallies: Sequence[Tally]) -> list[str]:
    """Return the largest group of models that votes connect; of equals the one with most votes."""
    models = models_of(tallies)
    votes = _votes_by_model(tallies)
    met = [(one.model_a, one.model_b) for one in tallies]
    groups = _groups(models, [*met, *((b, a) for a, b in met)])
    of_votes = [(len(group), sum(votes[name] for name in group), group) for group in groups]
    return max(of_votes, default=(0, 0, list[str]()), key=lambda one: one[:2])[2]


def _one_sided(tallies: Sequence[Tally]) -> set[str]:
    """Return the models outside the largest group in which each beat each, by a chain of wins.

    Source: Ford 1957, "Solution of a Ranking Problem from Binary Comparisons": only within such a
    group strengths of the greatest likelihood are finite. A tie is half a win for both.
    """
    models = models_of(tallies)
    won = [(one.model_a, one.model_b) for one in tallies if one.votes > one.wins_b]
    won += [(one.model_b, one.model_a) for one in tallies if one.votes > one.wins_a]
    groups = _groups(models, won)
    largest = max(groups, key=len, default=[])
    return set(models) - set(largest if len(largest) > 1 else [])


def _groups(models: Sequence[str], links: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of models in which each reaches each along the links."""
    index = {name: place for place, name in enumerate(models)}
    reached: NDArray[np.bool_] = np.eye(len(models), dtype=bool)
    for one, other in links:
        reached[index[one], index[other]] = True
    for middle in range(len(models)):  # Warshall's closure
        reached |= reached[:, [middle]] & reached[[middle], :]
    groups = {tuple(np.flatnonzero(row).tolist()) for row in reached & reached.T}
    return [[models[place] for place in group] for group in sorted(groups)]


def _votes_by_model(tallies: Sequence[Tally]) -> dict[str, int]:
    votes = dict.fromkeys(models_of(tallies), 0)
    for one in tallies:
        votes[one.model_a] += one.votes
        votes[one.model_b] += one.votes
    return votes


def _records(tallies: Sequence[Tally]) -> dict[tuple[str, str], Record]:
    met: dict[tuple[str, str], tuple[int, float]] = {}
    for one in tallies:
        half = (one.ties + one.both_bad) / 2
        sides = ((one.model_a, one.model_b, one.wins_a), (one.model_b, one.model_a, one.wins_b))
        for model, against, wins in sides:
            votes, won = met.get((model, against), (0, 0.0))
            met[model, against] = votes + one.votes, won + wins + half
    return {pair: Record(votes, won / votes) for pair, (votes, won) in sorted(met.items())}
