"""When there is another replica, and when one goes."""

from llava_serve.launching.placement.scaling import Demand, ScalingPolicy

IDLE, BUSY, FULL = Demand(0, 0, 4), Demand(0, 4, 4), Demand(3, 4, 4)


def policy(least: int = 1, most: int = 3) -> ScalingPolicy:
    return ScalingPolicy(least, most, idle_after_s=10)


def test_there_is_another_replica_once_requests_have_waited() -> None:
    one = policy()
    assert [one.target(now, FULL, 1, 0) for now in (0, 2, 3)] == [1, 1, 2]


def test_a_line_that_was_empty_in_between_begins_anew() -> None:
    one = policy()
    targets = [one.target(now, demand, 1, 0) for now, demand in enumerate((FULL, FULL, BUSY, FULL))]
    assert targets == [1, 1, 1, 1]
    assert one.target(5, FULL, 1, 0) == 1
    assert one.target(6, FULL, 1, 0) == 2


def test_a_long_line_has_as_many_at_once_as_it_fills_and_no_more_than_the_most() -> None:
    one = policy(most=9)
    one.target(0, Demand(12, 4, 4), 1, 0)
    assert one.target(3, Demand(12, 4, 4), 1, 0) == 4
    assert one.target(4, Demand(12, 4, 4), 1, 3) == 4
    assert one.target(5, Demand(99, 4, 4), 1, 3) == 9


def test_those_that_start_are_waited_for() -> None:
    one = policy()
    one.target(0, FULL, 1, 0)
    assert [one.target(now, FULL, 1, 1) for now in (3, 4, 60)] == [2, 2, 2]


def test_one_goes_after_a_while_in_which_the_others_had_free_slots() -> None:
    one = policy()
    assert [one.target(now, IDLE, 3, 0) for now in (0, 9, 10, 19)] == [3, 3, 2, 3]
    assert one.target(20, IDLE, 2, 0) == 1
    assert one.target(99, IDLE, 1, 0) == 1


def test_none_goes_while_the_others_would_be_full() -> None:
    one = policy()
    assert [one.target(now, BUSY, 2, 0) for now in (0, 10, 20)] == [2, 2, 2]
    assert [one.target(now, Demand(0, 3, 4), 2, 0) for now in (30, 40)] == [2, 1]


def test_load_in_between_begins_the_while_anew() -> None:
    one = policy()
    demands = [(0, IDLE), (9, BUSY), (10, IDLE), (19, IDLE)]
    assert [one.target(now, demand, 2, 0) for now, demand in demands] == [2, 2, 2, 2]
    assert one.target(20, IDLE, 2, 0) == 1


def test_never_below_the_least_nor_above_the_most() -> None:
    fixed = policy(least=2, most=2)
    assert [fixed.target(now, IDLE, 2, 0) for now in (0, 60)] == [2, 2]
    assert [fixed.target(now, FULL, 2, 0) for now in (70, 90)] == [2, 2]
    assert policy(least=2).target(0, IDLE, 0, 1) == 2


def test_slots_that_are_not_told_count_as_one() -> None:
    one = policy()
    one.target(0, Demand(2, 0, 0), 1, 0)
    assert one.target(3, Demand(2, 0, 0), 1, 0) == 3
