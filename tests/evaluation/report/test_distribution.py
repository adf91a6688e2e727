"""Quantiles of times, kept in fixed memory."""

import math
import random

import pytest

from llava_serve.evaluation.report.distribution import TimeDistribution


def test_quantiles_are_right_to_one_per_cent() -> None:
    chance = random.Random(3)
    times = [chance.lognormvariate(0, 1.5) for _ in range(20_000)]
    distribution = TimeDistribution()
    for time_s in times:
        distribution.add(time_s)
    times.sort()
    for fraction in (0.01, 0.5, 0.9, 0.99):
        exact = times[math.ceil(fraction * len(times)) - 1]
        assert distribution.quantile(fraction) == pytest.approx(exact, rel=0.011)
    assert len(distribution.counts) < 1000


def test_the_histogram_holds_every_time() -> None:
    distribution = TimeDistribution()
    for time_s in (0.0, 1e-9, 0.02, 0.5, 0.5, 3000.0):
        distribution.add(time_s)
    times = distribution.times()
    assert times is not None
    assert sum(bar.n for bar in times.histogram) == times.n == 6
    assert len(times.histogram) <= 24
    assert times.most_s == 3000
    assert times.p50_s == pytest.approx(0.02, rel=0.011)


def test_one_time_is_all_its_quantiles() -> None:
    distribution = TimeDistribution()
    distribution.add(0.25)
    times = distribution.times()
    assert times is not None
    assert (times.p50_s, times.p99_s, times.most_s, times.mean_s) == (0.25, 0.25, 0.25, 0.25)


def test_what_no_clock_measured_is_left_out() -> None:
    distribution = TimeDistribution()
    for time_s in (math.nan, math.inf, -1.0):
        distribution.add(time_s)
    assert distribution.times() is None
