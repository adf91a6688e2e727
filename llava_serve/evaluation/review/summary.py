"""Summary of reviews: relative scores with their intervals, wins, and what the order does."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from llava_serve.arena.agreement import Agreement, agreement
from llava_serve.arena.orders import together
from llava_serve.arena.tally import Winner

_DRAWS = 10_000
_LEVEL = 0.95
_COUNTS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Scores of one question, (A, B), where A stood first and where B did.

    `cluster` names what questions share that makes them alike: their image.
    """

    key: str
    category: str
    cluster: str
    ab: tuple[float, float]
    ba: tuple[float, float]

    @property
    def mean(self) -> tuple[float, float]:
        """The scores of A and B over both orders."""
        return (self.ab[0] + self.ba[0]) / 2, (self.ab[1] + self.ba[1]) / 2

    @property
    def winners(self) -> tuple[Winner, Winner]:
        """Who scores more, in each order."""
        return _winner(self.ab), _winner(self.ba)


@dataclass(frozen=True, slots=True)
class OrderEffect:
    """What it gains an answer to be the first.

    `advantage` is a mean difference in points of the scale of 10; None without reviews.
    """

    advantage: float | None
    agreement: Agreement


def means(pairs: Sequence[ScoredPair]) -> tuple[float, float]:
    """Return the mean scores of A and B; there is at least one pair."""
    return (
        sum(pair.mean[0] for pair in pairs) / len(pairs),
        sum(pair.mean[1] for pair in pairs) / len(pairs),
    )


def relative_score(pairs: Sequence[ScoredPair]) -> float | None:
    """Return B's mean score in percent of A's; None where A has no points.

    Source: haotian-liu/LLaVA@c121f04 llava/eval/summarize_gpt_review.py.
    """
    return _percent([pair.mean for pair in pairs])


def relative_ab(pairs: Sequence[ScoredPair]) -> float | None:
    """Return `relative_score` of the reviews in which A stands first, as all of LLaVA's do."""
    return _percent([pair.ab for pair in pairs])


def interval(pairs: Sequence[ScoredPair], seed: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the relative score; None where there are no two images,
    or where so few have points of A that a draw may have none.

    Images are drawn with replacement, each with all of its questions: what is asked about one
    image is not independent. Of sets drawn with a known truth, the intervals of 24 images and more
    hold it in 92 to 94 of 100, those of 10 images in 91.

    Source: percentile bootstrap, Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    chapter 13; of clusters, Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640.
    """
    sums: dict[str, list[float]] = {}
    for pair in pairs:
        total = sums.setdefault(pair.cluster, [0.0, 0.0])
        total[0] += pair.mean[0]
        total[1] += pair.mean[1]
    if len(sums) < 2:
        return None
    clusters = np.array(list(sums.values()))  # (clusters, 2)
    random = np.random.default_rng(seed)
    count = len(clusters)
    step = max(1, _COUNTS_AT_ONCE // count)
    ratios: list[float] = []
    for begun in range(0, _DRAWS, step):
        draws = min(step, _DRAWS - begun)
        drawn = random.multinomial(count, [1 / count] * count, size=draws) @ clusters
        if not drawn[:, 0].all():
            return None
        ratios += (100 * drawn[:, 1] / drawn[:, 0]).tolist()
    low, high = np.quantile(ratios, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def wins_ties_losses(pairs: Iterable[ScoredPair]) -> tuple[int, int, int]:
    """Return how often B beats A, neither does, and A beats B; orders that disagree are a tie."""
    counts = Counter(together(*pair.winners) for pair in pairs)
    return counts["b"], counts["tie"], counts["a"]


def order_effect(pairs: Sequence[ScoredPair]) -> OrderEffect:
    """Compare what both orders say of the same answers."""
    gains = [(pair.ab[0] - pair.ba[0] + pair.ba[1] - pair.ab[1]) / 2 for pair in pairs]
    votes: Counter[tuple[str, str]] = Counter(pair.winners for pair in pairs)
    return OrderEffect(sum(gains) / len(gains) if gains else None, agreement(votes))


def _percent(scores: Sequence[tuple[float, float]]) -> float | None:
    sum_a, sum_b = (sum(score[side] for score in scores) for side in (0, 1))
    return 100 * sum_b / sum_a if sum_a else None


def _winner(scores: tuple[float, float]) -> Winner:
    if scores[0] == scores[1]:
        return "tie"
    return "a" if scores[0] > scores[1] else "b"
