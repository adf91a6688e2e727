"""Whoever sends much waits behind themselves and not in front of others."""

import random
from collections import Counter

import pytest

from llava_serve.cluster.waiting.fair_queue import QUANTUM, FairQueue


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.pop().item for _ in range(len(queue))]


def test_one_owners_requests_keep_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in "abc":
        queue.push("alice", 10, item)
    assert drained(queue) == ["a", "b", "c"]
    with pytest.raises(IndexError):
        queue.pop()


@pytest.mark.parametrize("cost", [1, QUANTUM, 20 * QUANTUM])
def test_a_thousand_requests_do_not_delay_anothers_first(cost: float) -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(1000):
        queue.push("alice", QUANTUM / 5, "alice")
    queue.pop()
    queue.push("bob", cost, "bob")
    assert queue.pop().item == "bob"


def test_owners_get_equal_tokens_and_not_equal_requests() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(200):
        queue.push("long", 4 * QUANTUM, "long")
        queue.push("short", QUANTUM, "short")
    had = Counter(queue.pop().item for _ in range(200))
    assert had["short"] == pytest.approx(4 * had["long"], rel=0.1)


def test_a_request_that_costs_many_turns_is_paid_with_those_that_follow() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("alice", 4.5 * QUANTUM, "huge")
    queue.push("alice", 1, "small")
    for _ in range(9):
        queue.push("bob", QUANTUM, "bob")
    assert drained(queue) == ["huge", *["bob"] * 4, "small", *["bob"] * 5]


def test_who_owes_turns_is_not_new_by_waiting_for_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("alice", 4.5 * QUANTUM, "huge")
    for _ in range(9):
        queue.push("bob", QUANTUM, "bob")
    had = [queue.pop().item, queue.pop().item]
    queue.push("alice", QUANTUM, "again")
    assert had + drained(queue)[:5] == ["huge", *["bob"] * 4, "again", "bob"]


def test_who_is_served_already_is_not_new() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("alice", QUANTUM, "a", is_served=True)
    queue.push("bob", QUANTUM, "b")
    assert drained(queue) == ["b", "a"]


def test_who_comes_again_and_again_is_new_once() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.push("alice", QUANTUM, "alice")
    had = []
    for _ in range(20):
        queue.push("bob", QUANTUM, "bob")
        had += [queue.pop().item, queue.pop().item]
    assert Counter(had)["bob"] == 20


def test_a_cost_beyond_all_measure_takes_no_time_to_pay() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in "ab":
        queue.push("alice", 1e18, item)
    queue.push("bob", 1, "c")
    assert drained(queue) == ["a", "c", "b"]


def test_nobody_s_turn_is_taken_by_looking() -> None:
    queue: FairQueue[str] = FairQueue()
    assert queue.peek() is None
    first = queue.push("alice", 1, "a")
    assert queue.peek() is queue.peek() is first
    assert len(queue) == 1


def test_who_is_passed_over_keeps_the_place() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("alice", QUANTUM, "picture", kind="picture")
    for item in "ab":
        queue.push("bob", QUANTUM / 2, item)
    queue.push("alice", QUANTUM, "text")
    blocked = {"picture"}
    had = []
    while (ticket := queue.peek(blocked)) is not None:
        queue.take(ticket)
        had.append(ticket.item)
    assert had == ["text", "a", "b"]
    assert drained(queue) == ["picture"]
    assert queue.peek() is None


def test_those_that_are_not_blocked_take_fair_turns() -> None:
    queue: FairQueue[str] = FairQueue()
    for owner in ("alice", "bob", "carol"):
        queue.push(owner, QUANTUM, owner, kind="picture")
    for _ in range(30):
        queue.push("alice", 4 * QUANTUM, "alice")
        queue.push("bob", QUANTUM, "bob")
    had = []
    for _ in range(25):
        ticket = queue.peek({"picture"})
        assert ticket is not None
        queue.take(ticket)
        had.append(ticket.item)
    assert Counter(had)["bob"] == pytest.approx(20, abs=1)
    assert [queue.pop().item for _ in range(3)].count("carol") == 1


def test_whoever_leaves_the_line_is_out_of_it() -> None:
    queue: FairQueue[str] = FairQueue()
    gone, kept = queue.push("a", 1, "gone"), queue.push("a", 1, "kept")
    assert queue.remove(gone)
    assert not queue.remove(gone)
    assert queue.position(kept) == 0
    assert drained(queue) == ["kept"]
    assert not queue.remove(kept)


def test_the_position_counts_no_more_of_another_than_of_oneself() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.push("alice", QUANTUM, "")
    mine = [queue.push("bob", QUANTUM, "") for _ in range(3)]
    assert [queue.position(ticket) for ticket in mine] == [1, 3, 5]
    assert queue.pop().item == ""
    assert [queue.position(ticket) for ticket in mine] == [0, 3, 5]


@pytest.mark.parametrize("seed", range(50))
def test_everybody_who_waits_has_a_turn_once(seed: int) -> None:
    drawn = random.Random(seed)
    queue: FairQueue[int] = FairQueue()
    pushed, popped = [], []
    for number in range(drawn.randrange(300)):
        if drawn.random() < 0.6:
            queue.push(drawn.choice("abc"), drawn.uniform(1, 1e5), number)
            pushed.append(number)
        elif len(queue):
            popped.append(queue.pop().item)
    popped += [queue.pop().item for _ in range(len(queue))]
    assert sorted(popped) == pushed
