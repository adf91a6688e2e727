"""Relative scores, their intervals, wins and the effect of the order."""

import numpy as np
import pytest

from llava_serve.evaluation.review.summary import (
    ScoredPair,
    interval,
    order_effect,
    relative_ab,
    relative_score,
    wins_ties_losses,
)


def pair(
    ab: tuple[float, float], ba: tuple[float, float] | None = None, cluster: str = "1.jpg"
) -> ScoredPair:
    return ScoredPair("q", "conv", cluster, ab, ba or ab)


def test_the_relative_score_is_of_the_means_and_not_the_mean_of_ratios() -> None:
    pairs = [pair((10, 5)), pair((2, 2))]
    assert relative_score(pairs) == pytest.approx(100 * 7 / 12)


def test_both_orders_count_alike_and_llavas_only_order_is_told_beside() -> None:
    pairs = [pair((8, 8), (8, 4))]
    assert relative_score(pairs) == 75
    assert relative_ab(pairs) == 100


def test_the_interval_is_the_same_each_time_and_covers_the_score() -> None:
    random = np.random.default_rng(5)
    pairs = [
        pair((float(a), float(b)), cluster=f"{number}")
        for number, (a, b) in enumerate(random.integers(1, 11, (50, 2)))
    ]
    found = interval(pairs, seed=1)
    assert found is not None and found == interval(pairs, seed=1) != interval(pairs, seed=2)
    assert found[0] < (relative_score(pairs) or 0) < found[1]


def test_a_reference_without_points_has_no_relative_score() -> None:
    pairs = [pair((0, 7), cluster="1"), pair((0, 9), cluster="2")]
    assert (relative_score(pairs), relative_ab(pairs), interval(pairs, seed=0)) == (None,) * 3
    assert relative_score([]) is None


def test_questions_about_one_image_are_drawn_together() -> None:
    alone = [pair((8, float(b)), cluster=f"{b}-{copy}") for b in (2, 5, 9) for copy in range(4)]
    together = [pair((8, float(b)), cluster=f"{b}") for b in (2, 5, 9) for _ in range(4)]
    narrow, wide = interval(alone, seed=0), interval(together, seed=0)
    assert narrow is not None and wide is not None
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_one_image_has_no_interval() -> None:
    assert interval([pair((8, 7)), pair((8, 9))], seed=0) is None
    assert interval([], seed=0) is None


@pytest.mark.slow
def test_one_interval_of_twenty_misses() -> None:
    """Of 200 drawn sets of 40 images, the share whose interval holds the truth is near 95 %."""
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(200):
        scores = random.integers((5, 2), (11, 10), (40, 2))
        pairs = [pair((float(a), float(b)), cluster=f"{n}") for n, (a, b) in enumerate(scores)]
        found = interval(pairs, seed=0)
        assert found is not None
        hits += found[0] <= 100 * 5.5 / 7.5 <= found[1]
    assert 0.91 <= hits / 200 <= 0.98


def test_wins_that_do_not_agree_are_ties() -> None:
    pairs = [pair((5, 8)), pair((8, 5)), pair((8, 5), (5, 8)), pair((7, 7)), pair((7, 7), (6, 7))]
    assert wins_ties_losses(pairs) == (1, 3, 1)


def test_standing_first_is_worth_what_both_orders_differ_by() -> None:
    effect = order_effect([pair((9, 6), (8, 7)), pair((9, 6), (8, 7))])
    assert effect.advantage == 1
    assert effect.agreement.rate == 1
    none = order_effect([])
    assert (none.advantage, none.agreement.rate) == (None, None)
