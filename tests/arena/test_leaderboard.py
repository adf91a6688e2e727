"""A leaderboard ranks what votes connect, and says what they leave open."""

import numpy as np
import pytest

from llava_serve.arena.leaderboard import Leaderboard, Standing, leaderboard
from llava_serve.arena.tally import Tally


def standing(board: Leaderboard, model: str) -> Standing:
    (found,) = (one for one in board.standings if one.model == model)
    return found


def test_the_better_model_stands_first_with_its_interval() -> None:
    board = leaderboard([Tally("a", "b", wins_a=30, wins_b=60, ties=10)])
    assert [one.model for one in board.standings] == ["b", "a"]
    best = board.standings[0]
    assert best.low is not None
    assert best.rating is not None
    assert best.high is not None
    assert best.low < best.rating < best.high
    # The odds of 65 to 35 that the tally has, as points: 400 are odds of 10 to 1.
    difference = best.rating - (board.standings[1].rating or 0)
    assert difference == pytest.approx(400 * np.log10(65 / 35), rel=0.02)
    assert sum(one.rating or 0 for one in board.standings) == pytest.approx(2000)


def test_without_votes_there_is_nobody_to_rank() -> None:
    board = leaderboard([])
    assert (board.standings, board.records, board.votes) == ((), {}, 0)


def test_models_that_no_vote_connects_get_no_number() -> None:
    board = leaderboard(
        [Tally("a", "b", 5, 4), Tally("b", "c", 3, 4), Tally("x", "y", wins_a=50, wins_b=10)]
    )
    assert {one.model for one in board.standings if one.rating is not None} == {"a", "b", "c"}
    alone = standing(board, "x")
    assert (alone.rating, alone.rank, alone.low, alone.votes) == (None, None, None, 60)


def test_models_that_differ_by_chance_share_a_rank() -> None:
    close = leaderboard([Tally("a", "b", wins_a=11, wins_b=10)])
    assert [one.rank for one in close.standings] == [1, 1]
    clear = leaderboard([Tally("a", "b", wins_a=900, wins_b=100)])
    assert [one.rank for one in clear.standings] == [1, 2]


def test_one_sided_records_are_named_and_bounded() -> None:
    board = leaderboard([Tally("a", "b", 6, 5), Tally("b", "c", 4, 7), Tally("best", "a", 9, 0)])
    assert standing(board, "best").is_one_sided
    assert not any(standing(board, name).is_one_sided for name in "abc")
    assert 1000 < (standing(board, "best").rating or 0) < 2500


def test_where_one_model_won_everything_both_are_one_sided() -> None:
    board = leaderboard([Tally("a", "b", wins_a=4)])
    assert all(one.is_one_sided for one in board.standings)


def test_a_tie_and_both_bad_are_half_a_win_each() -> None:
    board = leaderboard([Tally("a", "b", wins_a=2, wins_b=1, ties=2, both_bad=3)])
    assert board.records["a", "b"].win_rate == pytest.approx((2 + 2.5) / 8)
    assert board.records["b", "a"].win_rate == pytest.approx((1 + 2.5) / 8)
    assert (board.votes, board.ties, board.both_bad) == (8, 2, 3)


def test_sides_are_added_up_in_a_record() -> None:
    board = leaderboard([Tally("a", "b", wins_a=3), Tally("b", "a", wins_a=1)])
    assert board.records["a", "b"].votes == 4
    assert board.records["a", "b"].win_rate == 0.75


def long_winded() -> list[Tally]:
    """Votes on equally good models that go by length alone: 3 to 1 for an answer longer by half."""
    random = np.random.default_rng(2)
    tallies = []
    for difference in np.round(np.arange(-1, 1.05, 0.1), 1):
        chance = 1 / (1 + np.exp(-np.log(3) / 0.5 * difference))
        share = 300 * np.exp(-(((difference - 0.4) / 0.4) ** 2))  # `long` mostly says more
        wins = random.binomial(int(share), chance)
        tallies.append(
            Tally("long", "short", wins, int(share) - wins, length_difference=float(difference))
        )
    return tallies


def test_style_control_takes_out_what_length_has_won() -> None:
    plain, controlled = (leaderboard(long_winded(), style_control=on) for on in (False, True))
    assert (standing(plain, "long").rating or 0) - (standing(plain, "short").rating or 0) > 80
    difference = (standing(controlled, "long").rating or 0) - 1000
    assert abs(difference) < 20
    assert plain.length_points is None
    assert controlled.length_points == pytest.approx(400 * np.log10(3) / 5, rel=0.15)


def test_the_same_votes_give_the_same_board_whatever_their_order() -> None:
    tallies = [Tally("a", "b", 5, 4), Tally("b", "c", 3, 4), Tally("a", "c", 2, 2, 1)]
    assert leaderboard(tallies).as_json() == leaderboard(tallies).as_json()
    one, other = leaderboard(tallies).standings, leaderboard(tallies[::-1]).standings
    assert [item.rating for item in one] == pytest.approx([item.rating for item in other])
