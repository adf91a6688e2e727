"""Statistics against worked examples that were published."""

import math

import pytest

from llava_serve.evaluation.report.statistics import PairedTally, mcnemar, wilson_interval


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_that_of_newcombes_table(
    right: int, n: int, low: float, high: float
) -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I."""
    assert wilson_interval(right / n, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("mean", "n"), [(0.0, 1), (1.0, 1), (1.0, 100_000), (0.5, 0)])
def test_an_interval_stays_between_0_and_1(mean: float, n: int) -> None:
    low, high = wilson_interval(mean, n)
    assert 0 <= low <= mean <= high <= 1


def test_the_mid_p_value_is_that_of_the_airways() -> None:
    """Fagerland, Lydersen and Laake 2013: Bentur's data, 1 against 7, mid-p 0.039."""
    assert mcnemar(1, 7) == pytest.approx(0.039, abs=5e-4)


def test_the_mid_p_value_is_that_of_the_therapy() -> None:
    """Fagerland, Lydersen and Laake 2017, chapter 8: Cavo's data, 6 against 16.

    The figure is that of their package: ocbe-uio/contingencytables, tests/testthat/test-chap8.R.
    """
    assert mcnemar(6, 16) == pytest.approx(0.034690, abs=5e-7)
    assert mcnemar(16, 6) == mcnemar(6, 16)


def test_the_mid_p_value_is_the_binomial_sum_for_many_pairs() -> None:
    ways = [math.comb(900, k) for k in range(401)]
    exact = (2 * sum(ways[:-1]) + ways[-1]) / 2**900
    assert mcnemar(400, 500) == pytest.approx(exact, rel=1e-9)
    assert 0 < mcnemar(49_000, 51_000) < 1e-9


def test_equal_counts_say_nothing() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(1, 1) == pytest.approx(0.75)  # one of both: 1 less half the chance of just this
    assert mcnemar(0, 1) == pytest.approx(0.5)


def tally_of(both: int, only_first: int, only_second: int, neither: int) -> PairedTally:
    tally = PairedTally()
    for count, first, second in (
        (both, 1.0, 1.0),
        (only_first, 1.0, 0.0),
        (only_second, 0.0, 1.0),
        (neither, 0.0, 0.0),
    ):
        for _ in range(count):
            tally.add(first, second)
    return tally


def test_the_interval_of_a_difference_is_that_of_bonett_and_price() -> None:
    """Cavo's data, as in the chapter and the package above: -0.1195 to -0.0032."""
    tally = tally_of(59, 16, 6, 80)
    assert tally.difference == pytest.approx(-0.0621, abs=5e-5)
    assert tally.interval == pytest.approx((-0.1195, -0.0032), abs=5e-5)
    assert (tally.only_first, tally.only_second) == (16, 6)
    assert tally.p_value == pytest.approx(0.034690, abs=5e-7)


def test_credits_between_0_and_1_have_the_interval_of_their_mean_difference() -> None:
    """Where the pairs are many, those added make no difference to the usual interval."""
    tally = PairedTally()
    for at in range(10_000):
        tally.add((at % 4) / 3, (at % 5) / 4)
    differences = [(at % 5) / 4 - (at % 4) / 3 for at in range(10_000)]
    mean = sum(differences) / 10_000
    deviation = math.sqrt(sum((one - mean) ** 2 for one in differences) / 10_000)
    half = 1.959964 * deviation / 100
    assert tally.interval == pytest.approx((mean - half, mean + half), abs=1e-4)


def test_equal_runs_still_have_an_interval() -> None:
    low, high = tally_of(50, 0, 0, 50).interval
    assert low < 0 < high
    assert high == -low
