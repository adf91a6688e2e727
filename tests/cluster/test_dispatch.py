"""Each policy does what its name says."""

import random
from collections import Counter

from llava_serve.cluster.dispatch import (
    DISPATCH,
    DispatchRequest,
    RoundRobin,
    lottery,
    shortest_queue,
)
from llava_serve.cluster.registered_worker import RegisteredWorker
from tests.cluster.conftest import status_of

ECHO = DispatchRequest(model="echo")


def seen(address: str, queue_length: int = 0, speed: float = 1) -> RegisteredWorker:
    return RegisteredWorker(address, status_of(speed=speed), last_seen=0, others=queue_length)


def test_the_least_loaded_worker_is_chosen() -> None:
    workers = [seen("a", 2), seen("b", 3, speed=6), seen("c", 1)]
    assert shortest_queue(workers, ECHO).address == "b"


def test_of_equally_loaded_workers_the_fastest_is_chosen() -> None:
    assert shortest_queue([seen("a"), seen("b", speed=3), seen("c")], ECHO).address == "b"


def test_equal_workers_all_get_their_share_of_single_requests() -> None:
    random.seed(0)
    chosen = Counter(shortest_queue([seen("a"), seen("b")], ECHO).address for _ in range(100))
    assert min(chosen.values()) > 30


def test_the_lottery_follows_speed() -> None:
    random.seed(0)
    workers = [seen("slow", speed=1), seen("fast", speed=9)]
    chosen = Counter(lottery(workers, ECHO).address for _ in range(1000))
    assert 850 < chosen["fast"] < 950


def test_round_robin_takes_turns() -> None:
    choose = RoundRobin()
    workers = [seen("a"), seen("b"), seen("c")]
    assert [choose(workers, ECHO).address for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_round_robin_takes_turns_while_another_model_is_asked_for() -> None:
    choose = RoundRobin()
    ours, theirs = [seen("a"), seen("b")], [seen("c"), seen("d")]
    chosen = []
    for _ in range(4):
        chosen.append(choose(ours, ECHO).address)
        choose(theirs, ECHO)
    assert chosen == ["a", "b", "a", "b"]


def test_every_policy_chooses_among_one() -> None:
    assert {make()([seen("a")], ECHO).address for make in DISPATCH.values()} == {"a"}
