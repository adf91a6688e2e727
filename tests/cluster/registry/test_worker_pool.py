"""A worker pool answers in each order what a look at every worker would answer."""

import random
from functools import partial

import pytest

from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.worker_pool import WorkerPool
from tests.cluster.conftest import status_of


def worker_of(address: str, queue_length: int = 0, speed: float = 1) -> RegisteredWorker:
    return RegisteredWorker(address, status_of(speed=speed), last_seen=0, others=queue_length)


def is_other(address: str, worker: RegisteredWorker) -> bool:
    return worker.address != address


def anyone(_: RegisteredWorker) -> bool:
    return True


def test_the_least_load_is_found_however_loads_change() -> None:
    draw = random.Random(1)
    pool, workers = WorkerPool(), dict[str, RegisteredWorker]()
    for _ in range(3_000):
        address = str(draw.randrange(40))
        if draw.random() < 0.1:
            pool.remove(address)
            workers.pop(address, None)
        else:
            workers[address] = worker_of(address, draw.randrange(50), draw.choice((1, 2)))
            pool.put(workers[address])
        excluded = str(draw.randrange(40))
        found = pool.least_loaded(partial(is_other, excluded))
        loads = [one.load for one in workers.values() if one.address != excluded]
        assert (found.load if found else None) == min(loads, default=None)
        assert len(pool) == len(workers)
        assert {one.address for one in pool.on_ring(draw.getrandbits(64))} == set(workers)


def test_of_equals_the_fastest_is_found() -> None:
    pool = WorkerPool()
    for worker in (worker_of("a"), worker_of("b", speed=3), worker_of("c")):
        pool.put(worker)
    found = pool.least_loaded(anyone)
    assert found is not None
    assert found.address == "b"


def test_who_is_passed_over_is_found_the_next_time() -> None:
    pool = WorkerPool()
    pool.put(worker_of("a", 1))
    pool.put(worker_of("b", 2))
    assert pool.least_loaded(lambda one: one.address == "b") == worker_of("b", 2)
    assert pool.least_loaded(anyone) == worker_of("a", 1)
    assert pool.least_loaded(lambda _: False) is None


def test_stale_entries_do_not_pile_up() -> None:
    pool = WorkerPool()
    for length in range(10_000):
        pool.put(worker_of("a", length))
    assert len(pool._by_load) < 10


def test_a_share_follows_speed() -> None:
    pool = WorkerPool()
    slow, fast = worker_of("slow", 3), worker_of("fast", 4, speed=3)
    pool.put(slow)
    pool.put(fast)
    assert (pool.fair_queue_length(slow), pool.fair_queue_length(fast)) == (2, 6)


def test_a_worker_of_absurd_speed_leaves_the_others_a_fair_part() -> None:
    pool = WorkerPool()
    fast, slow = worker_of("fast", speed=1e300), worker_of("slow", 3)
    pool.put(fast)
    pool.put(slow)
    pool.remove("fast")
    assert pool.fair_queue_length(slow) == 4


def test_who_was_busy_is_no_likelier_among_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0.5, 0.1, 0.9])  # the least of equals is chosen
    monkeypatch.setattr(random, "random", lambda: next(drawn))
    pool = WorkerPool()
    for worker in (worker_of("idle"), busy := worker_of("busy"), busy):
        pool.put(worker)
    chosen = pool.least_loaded(lambda worker: True)
    assert chosen is not None
    assert chosen.address == "idle"


def test_turns_go_round() -> None:
    pool = WorkerPool()
    for address in "abc":
        pool.put(worker_of(address))
    pool.take_turn(worker_of("a"))
    assert [one.address for one in pool.by_turn()] == ["b", "c", "a"]
    pool.put(worker_of("b", 5))  # a change of load is no turn
    assert [one.address for one in pool.by_turn()] == ["b", "c", "a"]


@pytest.mark.parametrize("address", ["a", "b", "c"])
def test_who_was_removed_is_in_no_order(address: str) -> None:
    pool = WorkerPool()
    for one in "abc":
        pool.put(worker_of(one))
    pool.remove(address)
    left = set("abc") - {address}
    assert {one.address for one in pool.on_ring(7)} == left
    assert {one.address for one in pool.by_turn()} == left
    assert {pool.at_random().address for _ in range(50)} == left
    assert address not in pool
