"""Strengths are those that were published, and those of an independent computation."""

import math
from itertools import product

import numpy as np
import pytest

from llava_serve.arena.bradley_terry import PRIOR, Votes, bootstrap, fit

# American League 1987, Eastern Division: (home wins, away wins) of the home team in each row
# against the team of each column. Source: Agresti, Categorical Data Analysis, 2nd edition, 2002,
# page 438.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
GAMES = """
      -   4-3 4-2 4-3 6-1 4-2 6-0
      3-3 -   4-2 4-3 6-0 6-1 4-3
      2-5 4-3 -   2-4 4-3 4-2 6-0
      3-3 5-1 2-5 -   4-3 4-2 6-1
      5-1 2-5 3-3 4-2 -   5-2 6-0
      2-5 3-3 3-4 4-3 4-2 -   2-4
      2-5 1-5 1-6 2-4 1-6 3-4 -
"""
# Table 10.11: strengths beside Baltimore's; chances of a win with the advantage of home taken out.
PUBLISHED = (1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0)
PUBLISHED_SHARES = (0.220, 0.190, 0.164, 0.157, 0.137, 0.088, 0.044)
PUBLISHED_HOME = 0.302


def baseball(home: bool) -> Votes:
    rows = [line.split() for line in GAMES.split("\n") if line.strip()]
    places = [(i, j) for i, j in product(range(7), repeat=2) if i != j]
    won = [tuple(map(int, rows[i][j].split("-"))) for i, j in places]
    first, second = (np.array(column) for column in zip(*places, strict=True))
    wins, losses = (np.array(column, dtype=float) for column in zip(*won, strict=True))
    covariate = np.ones(len(places)) if home else None
    return Votes(first, second, wins, losses, np.zeros(len(places)), covariate)


def test_the_strengths_of_a_published_table_come_out() -> None:
    found = fit(baseball(home=False), 7, prior=0).strengths
    assert tuple(np.round(found - found[-1], 2)) == PUBLISHED


def test_a_covariate_comes_out_as_published() -> None:
    found = fit(baseball(home=True), 7, prior=0)
    shares = np.exp(found.strengths) / np.exp(found.strengths).sum()
    assert tuple(np.round(shares, 3)) == PUBLISHED_SHARES
    assert round(found.slope, 3) == PUBLISHED_HOME


def test_the_prior_moves_a_full_table_by_less_than_its_second_decimal() -> None:
    plain, bounded = (fit(baseball(home=False), 7, prior).strengths for prior in (0.0, PRIOR))
    assert 0 < np.abs(plain - bounded).max() < 0.005


def by_minorization(votes: Votes, models: int) -> list[float]:
    """Source: Hunter 2004, "MM algorithms for generalized Bradley-Terry models", equation 3."""
    worth = [1.0] * models
    entries = list(
        zip(votes.first, votes.second, votes.wins, votes.losses, votes.ties, strict=True)
    )
    for _ in range(20_000):
        won, met = [0.0] * models, [0.0] * models
        for i, j, wins, losses, ties in entries:
            won[i] += wins + ties / 2
            won[j] += losses + ties / 2
            for one in (i, j):
                met[one] += (wins + losses + ties) / (worth[i] + worth[j])
        worth = [have / of for have, of in zip(won, met, strict=True)]
        scale = math.exp(sum(map(math.log, worth)) / models)
        worth = [one / scale for one in worth]
    return [math.log(one) for one in worth]


def test_strengths_with_ties_are_those_of_another_algorithm() -> None:
    random = np.random.default_rng(5)
    first, second = np.triu_indices(5, 1)
    counts = random.integers(1, 12, (3, len(first))).astype(float)
    votes = Votes(first, second, *counts)
    expected = by_minorization(votes, 5)
    assert fit(votes, 5, prior=0).strengths == pytest.approx(expected, abs=1e-6)


def test_sides_and_order_make_no_difference() -> None:
    votes = baseball(home=True)
    assert votes.covariate is not None
    swapped = Votes(
        votes.second, votes.first, votes.losses, votes.wins, votes.ties, -votes.covariate
    )
    one, other = fit(votes, 7), fit(swapped, 7)
    assert one.strengths == pytest.approx(other.strengths, abs=1e-9)
    assert one.slope == pytest.approx(other.slope, abs=1e-9)


def test_a_model_that_won_every_vote_has_a_bounded_strength() -> None:
    one, zero = np.array([20.0]), np.array([0.0])
    found = fit(Votes(np.array([0]), np.array([1]), one, zero, zero), 2).strengths
    assert 1 < found[0] < 5
    assert found[0] == pytest.approx(-found[1])


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth = np.array([0.8, 0.3, -0.2, -0.9])
    first, second = np.triu_indices(4, 1)
    chance = 1 / (1 + np.exp(truth[second] - truth[first]))
    random, held, rounds = np.random.default_rng(1), 0, 60
    for _ in range(rounds):
        wins = random.binomial(80, chance).astype(float)
        votes = Votes(first, second, wins, 80 - wins, np.zeros(len(wins)))
        low, high = np.percentile(bootstrap(votes, 4, samples=100), [2.5, 97.5], axis=0)
        held += int(((low <= truth) & (truth <= high)).sum())
    assert 0.88 < held / (rounds * 4) <= 0.99


def test_a_bootstrap_is_repeatable_and_is_one_of_single_votes() -> None:
    votes = baseball(home=False)
    drawn = bootstrap(votes, 7, samples=400)
    assert (drawn == bootstrap(votes, 7, samples=400)).all()
    # Source: Agresti, page 438: "standard errors of about 0.3" for differences to Baltimore.
    spread = (drawn - drawn[:, -1:]).std(axis=0)[:-1]
    assert (np.abs(spread - 0.34) < 0.06).all()
