"""Bradley-Terry model by maximum likelihood, with bootstrap intervals.

A beats B with the probability 1 / (1 + exp(-(strength A - strength B + slope * covariate))). A tie
is half a win for each side.

Source: Bradley and Terry 1952, "Rank Analysis of Incomplete Block Designs"; ties and bootstrap as
in Chiang et al. 2024, "Chatbot Arena", arXiv:2403.04132; the covariate as in lmsys.org 2024-08-28,
"Does style matter?".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR = 0.04  # precision of the strengths' normal prior: a deviation of 5, about 870 points
_LONGEST_STEP = 2.0  # a longer one of Newton's leads away where the votes are one-sided
_TOLERANCE, _RESAMPLE_TOLERANCE = 1e-9, 1e-5  # of a strength; 1e-5 is 0.002 points
_MOST_STEPS = 200
_CHUNK = 50  # resamples that are fitted together: what bounds the memory


@dataclass(frozen=True)
class Votes:
    """Counts in arrays of equal length, one entry for each two models and covariate."""

    first: NDArray[np.int64]  # index of model A
    second: NDArray[np.int64]
    wins: Floats  # of A
    losses: Floats
    ties: Floats
    covariate: Floats | None = None  # of A over B


@dataclass(frozen=True)
class Fit:
    """`strengths` (models,) have the mean 0; `slope` is that of the covariate."""

    strengths: Floats
    slope: float


@dataclass(frozen=True)
class _Design:
    """The pairs (pairs, models) as +1 and -1; `starts` is where each begins among the entries."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    pairs: Floats
    covariate: Floats  # (entries,)

    @classmethod
    def of(cls, votes: Votes, models: int) -> "_Design":
        order = np.lexsort((votes.second, votes.first))
        first, second = votes.first[order], votes.second[order]
        changes = np.flatnonzero(np.diff(first) | np.diff(second)) + 1
        starts = np.concatenate(([0], changes))
        pairs = np.eye(models)[first[starts]] - np.eye(models)[second[starts]]
        covariate = np.zeros(len(order)) if votes.covariate is None else votes.covariate[order]
        return cls(order, starts, pairs, covariate)

    def logits(self, parameters: Floats) -> Floats:
        """Return the log-odds (resamples, entries) of (resamples, models + 1) parameters."""
        lengths = np.diff(np.append(self.starts, len(self.order)))
        of_pairs = parameters[:, :-1] @ self.pairs.T
        return np.repeat(of_pairs, lengths, axis=1) + parameters[:, -1:] * self.covariate

    def gradient(self, residuals: Floats) -> Floats:
        of_pairs = np.add.reduceat(residuals, self.starts, axis=1)
        return np.hstack([of_pairs @ self.pairs, (residuals @ self.covariate)[:, None]])

    def information(self, weights: Floats) -> Floats:
        """Return the Fisher information (resamples, models + 1, models + 1)."""
        models = self.pairs.shape[1]
        outer = (self.pairs[:, :, None] * self.pairs[:, None, :]).reshape(len(self.pairs), -1)
        of_pairs = np.add.reduceat(weights, self.starts, axis=1)
        crossed = np.add.reduceat(weights * self.covariate, self.starts, axis=1) @ self.pairs
        matrix = np.empty((len(weights), models + 1, models + 1))
        matrix[:, :-1, :-1] = (of_pairs @ outer).reshape(-1, models, models)
        matrix[:, -1, :-1] = matrix[:, :-1, -1] = crossed
        matrix[:, -1, -1] = weights @ self.covariate**2
        return matrix


def fit(votes: Votes, models: int, prior: float = PRIOR) -> Fit:
    """Return the strengths of the greatest likelihood; every model must be connected by votes.

    `prior` is the precision of a normal prior with the mean 0. With 0 there is no greatest
    likelihood where a group of models won, or lost, all its votes on the others.
    """
    design = _Design.of(votes, models)
    won = np.stack([votes.wins, votes.losses])[:, None] + votes.ties / 2
    begin = np.zeros((1, models + 1))
    (found,) = _newton(design, won[:, :, design.order], begin, prior, _TOLERANCE)
    return Fit(found[:-1], float(found[-1]))


def bootstrap(
    votes: Votes, models: int, *, samples: int, prior: float = PRIOR, seed: int = 0
) -> Floats:
    """Return the strengths (samples, models) of as many resamples of the votes.

    The counts of a resample are multinomial: the same as to draw single votes with replacement.
    """
    design = _Design.of(votes, models)
    begin = fit(votes, models, prior)
    counts = np.concatenate([votes.wins, votes.losses, votes.ties])
    cells = np.flatnonzero(counts)
    total = round(float(counts.sum()))
    random = np.random.default_rng(seed)
    found = []
    for done in range(0, samples, _CHUNK):
        size = min(_CHUNK, samples - done)
        drawn = np.zeros((size, len(counts)))
        drawn[:, cells] = random.multinomial(total, counts[cells] / counts.sum(), size)
        wins, losses, ties = np.split(drawn, 3, axis=1)
        won = (np.stack([wins, losses]) + ties / 2)[:, :, design.order]
        start = np.tile(np.append(begin.strengths, begin.slope), (size, 1))
        found.append(_newton(design, won, start, prior, _RESAMPLE_TOLERANCE))
    return np.concatenate(found)[:, :-1]


def _newton(
    design: _Design, won: Floats, parameters: Floats, prior: float, tolerance: float
) -> Floats:
    """Climb to the greatest likelihood of each resample; `won` is (2, resamples, entries)."""
    models = design.pairs.shape[1]
    # Keeps the mean of the strengths where it is, at 0: votes alone leave it open.
    fixed = np.pad(np.full((models, models), 1 / models), (0, 1))
    if not design.covariate.any():
        fixed[-1, -1] = 1.0
    together = won[0] + won[1]
    for _ in range(_MOST_STEPS):
        chance = 1 / (1 + np.exp(-design.logits(parameters)))
        gradient = design.gradient(won[0] - together * chance) - prior * parameters
        curvature = design.information(together * chance * (1 - chance))
        curvature += fixed + prior * np.eye(models + 1)
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        parameters = parameters + step * np.minimum(1, _LONGEST_STEP / np.maximum(longest, 1e-300))
        if longest.max() < tolerance:
            break
    return parameters
