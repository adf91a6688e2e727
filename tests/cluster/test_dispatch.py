"""Each policy does what its name says."""

import random
from collections import Counter
from dataclasses import dataclass

from llava_serve.cluster.dispatch import DISPATCH, RoundRobin, lottery, shortest_queue


@dataclass(frozen=True)
class Seen:
    address: str
    load: float = 0.0
    speed: float = 1.0


def test_the_least_loaded_worker_is_chosen() -> None:
    workers = [Seen("a", load=2), Seen("b", load=0.5), Seen("c", load=1)]
    assert shortest_queue(workers).address == "b"


def test_of_equally_loaded_workers_the_fastest_is_chosen() -> None:
    assert shortest_queue([Seen("a"), Seen("b", speed=3), Seen("c")]).address == "b"


def test_equal_workers_all_get_their_share_of_single_requests() -> None:
    random.seed(0)
    chosen = Counter(shortest_queue([Seen("a"), Seen("b")]).address for _ in range(100))
    assert min(chosen.values()) > 30


def test_the_lottery_follows_speed() -> None:
    random.seed(0)
    workers = [Seen("slow", speed=1), Seen("fast", speed=9)]
    chosen = Counter(lottery(workers).address for _ in range(1000))
    assert 850 < chosen["fast"] < 950


def test_round_robin_takes_turns() -> None:
    choose = RoundRobin()
    workers = [Seen("a"), Seen("b"), Seen("c")]
    assert [choose(workers).address for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_round_robin_takes_turns_while_another_model_is_asked_for() -> None:
    choose = RoundRobin()
    ours, theirs = [Seen("a"), Seen("b")], [Seen("c"), Seen("d")]
    chosen = []
    for _ in range(4):
        chosen.append(choose(ours).address)
        choose(theirs)
    assert chosen == ["a", "b", "a", "b"]


def test_every_policy_chooses_among_one() -> None:
    assert {make()([Seen("a")]).address for make in DISPATCH.values()} == {"a"}
