"""Each policy does what its name says."""

import random
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from llava_serve.cluster.registry.dispatch import DISPATCH, DispatchRequest
from llava_serve.cluster.registry.hash_ring import hash_of
from llava_serve.cluster.registry.registry import Registry
from llava_serve.errors import NoWorker
from tests.cluster.conftest import status_of

ECHO = DispatchRequest(model="echo")


def registry_of(policy: str, *addresses: str, **fields: Any) -> Registry:
    registry = Registry(DISPATCH[policy])
    for address in addresses:
        registry.register(address, status_of(**fields), now=0)
    return registry


def add(registry: Registry, address: str, **fields: Any) -> None:
    registry.register(address, status_of(**fields), now=0)


def choose(registry: Registry, request: DispatchRequest = ECHO) -> str:
    with registry.dispatch(request, now=0) as worker:
        return worker.address


def about(picture: str) -> DispatchRequest:
    return DispatchRequest(model="echo", has_images=True, affinity=(hash_of(picture.encode()),))


def test_the_least_loaded_worker_is_chosen() -> None:
    registry = registry_of("shortest_queue")
    add(registry, "a", queue_length=2)
    add(registry, "b", queue_length=3, speed=6)
    add(registry, "c", queue_length=1)
    assert choose(registry) == "b"


def test_of_equally_loaded_workers_the_fastest_is_chosen() -> None:
    registry = registry_of("shortest_queue", "a", "c")
    add(registry, "b", speed=3)
    assert choose(registry) == "b"


def test_equal_workers_all_get_their_share_of_single_requests() -> None:
    random.seed(0)
    registry = registry_of("shortest_queue", "a", "b")
    assert min(Counter(choose(registry) for _ in range(100)).values()) > 30


def test_the_lottery_follows_speed() -> None:
    random.seed(0)
    registry = registry_of("lottery")
    add(registry, "slow", speed=1)
    add(registry, "fast", speed=9)
    assert 850 < Counter(choose(registry) for _ in range(1000))["fast"] < 950


def test_the_lottery_finds_a_slow_worker_that_is_the_only_one_left() -> None:
    registry = registry_of("lottery")
    add(registry, "slow", speed=1e-9)
    add(registry, "fast", speed=1e9)
    assert choose(registry, DispatchRequest(model="echo", excluding={"fast"})) == "slow"


def test_round_robin_takes_turns() -> None:
    registry = registry_of("round_robin", "a", "b", "c")
    assert [choose(registry) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_a_heartbeat_takes_no_turn() -> None:
    registry = registry_of("round_robin", "a", "b", "c")
    assert choose(registry) == "a"
    registry.heartbeat("b", queue_length=0, now=1)
    assert [choose(registry) for _ in range(3)] == ["b", "c", "a"]


def test_round_robin_takes_turns_while_another_model_is_asked_for() -> None:
    registry = registry_of("round_robin", "a", "b")
    add(registry, "c", model="other")
    add(registry, "d", model="other")
    chosen = []
    for _ in range(4):
        chosen.append(choose(registry))
        choose(registry, DispatchRequest(model="other"))
    assert chosen == ["a", "b", "a", "b"]


def test_a_picture_meets_the_worker_that_saw_it() -> None:
    registry = registry_of("picture_affine", "a", "b", "c", "d")
    owners = {picture: choose(registry, about(picture)) for picture in map(str, range(100))}
    assert {choose(registry, about(picture)) == owner for picture, owner in owners.items()} == {
        True
    }
    assert min(Counter(owners.values()).values()) > 5


def test_a_popular_picture_goes_on_to_the_next_worker_that_has_room() -> None:
    registry = registry_of("picture_affine", "a", "b", "c", "d", capacity=16)
    with ExitStack() as running:
        owners = Counter(
            running.enter_context(registry.dispatch(about("popular"), 0)).address for _ in range(40)
        )
    assert max(owners.values()) <= 13  # a quarter above the mean of ten
    assert len(owners) == 4


def test_a_picture_whose_worker_is_silent_meets_another_and_then_that_one_again() -> None:
    registry = registry_of("picture_affine", "a", "b", "c")
    owner = choose(registry, about("one"))
    for address in {"a", "b", "c"} - {owner}:
        registry.heartbeat(address, queue_length=0, now=40)
    with registry.dispatch(about("one"), now=50) as worker:
        second = worker.address
    assert second != owner
    registry.heartbeat(owner, queue_length=0, now=51)
    with registry.dispatch(about("one"), now=51) as worker:
        assert worker.address == owner


def test_a_request_without_affinity_goes_where_the_queue_is_shortest() -> None:
    registry = registry_of("picture_affine", "a", queue_length=3)
    add(registry, "b")
    assert choose(registry) == "b"


@pytest.mark.parametrize("policy", DISPATCH)
def test_every_policy_chooses_among_one(policy: str) -> None:
    assert choose(registry_of(policy, "a"), about("one")) == "a"


@pytest.mark.parametrize("policy", DISPATCH)
def test_no_policy_chooses_a_worker_that_was_tried(policy: str) -> None:
    registry = registry_of(policy, "a", "b")
    for _ in range(20):
        tried_a = DispatchRequest(model="echo", affinity=(1,), excluding={"a"})
        assert choose(registry, tried_a) == "b"
    both = DispatchRequest(model="echo", affinity=(1,), excluding={"a", "b"})
    with pytest.raises(NoWorker), registry.dispatch(both, now=0):
        pass


@pytest.mark.parametrize("policy", DISPATCH)
def test_every_policy_says_that_nobody_serves_a_picture_of_a_conversation(policy: str) -> None:
    asked = DispatchRequest(model="echo", has_images=True, affinity=(1, 2))
    with pytest.raises(NoWorker), registry_of(policy).dispatch(asked, now=0):
        pass
