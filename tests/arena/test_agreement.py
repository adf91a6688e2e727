"""Agreement is what was published of a table, and nothing where there is nothing to compare."""

import pytest

from llava_serve.arena.agreement import agreement


def test_kappa_is_that_of_a_published_table() -> None:
    # Source: Cohen 1960, table 1, as counts of 200: agreement .70, by chance .41, kappa .49.
    rows = {"a": (88, 14, 18), "b": (10, 40, 10), "tie": (2, 6, 12)}
    votes = {
        (one, other): count
        for one, counts in rows.items()
        for other, count in zip(("a", "b", "tie"), counts, strict=True)
    }
    found = agreement(votes)
    assert found.battles == 200
    assert found.rate == pytest.approx(0.70)
    assert found.kappa == pytest.approx(0.492, abs=0.001)


def test_both_bad_agrees_with_a_tie() -> None:
    assert agreement({("tie", "both_bad"): 3, ("a", "a"): 2}).rate == 1


def test_agreement_by_chance_has_the_kappa_zero() -> None:
    votes = {("a", "a"): 25, ("a", "b"): 25, ("b", "a"): 25, ("b", "b"): 25}
    assert agreement(votes).kappa == pytest.approx(0)


def test_without_battles_there_is_no_rate() -> None:
    assert agreement({}) == agreement({("a", "b"): 0})
    assert agreement({}).rate is None
    assert agreement({("a", "a"): 5}).kappa is None
