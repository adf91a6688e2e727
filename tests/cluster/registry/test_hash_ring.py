"""The hash ring spreads keys evenly, and moves few of them."""

from collections import Counter

import pytest

from llava_serve.cluster.registry.hash_ring import HashRing, hash_of

KEYS = [hash_of(str(number).encode()) for number in range(20_000)]


def ring_of(count: int) -> HashRing:
    ring = HashRing()
    for number in range(count):
        ring.add(f"http://worker-{number}:40000")
    return ring


def owners(ring: HashRing) -> list[str]:
    return [next(ring.walk(key)) for key in KEYS]


@pytest.mark.parametrize("count", [2, 4, 20])
def test_every_worker_gets_about_the_same(count: int) -> None:
    shares = Counter(owners(ring_of(count))).values()
    assert len(shares) == count
    assert max(shares) < 1.25 * len(KEYS) / count


def test_a_worker_that_joins_takes_keys_and_moves_no_others() -> None:
    ring = ring_of(9)
    before = owners(ring)
    ring.add("http://joined:1")
    after = owners(ring)
    moved = [owner for owner, former in zip(after, before, strict=True) if owner != former]
    assert set(moved) == {"http://joined:1"}
    assert len(moved) < 1.5 * len(KEYS) / 10


def test_a_worker_that_leaves_gives_up_its_keys_and_no_others() -> None:
    ring = ring_of(9)
    before = owners(ring)
    ring.remove("http://worker-4:40000")
    after = owners(ring)
    moved = {former for owner, former in zip(after, before, strict=True) if owner != former}
    assert moved == {"http://worker-4:40000"}
    assert "http://worker-4:40000" not in after


def test_a_walk_meets_every_worker_once() -> None:
    walks = [list(ring_of(7).walk(key)) for key in KEYS[:50]]
    assert {(len(walk), len(set(walk))) for walk in walks} == {(7, 7)}
    assert len({walk[0] for walk in walks}) > 1


def test_an_empty_ring_has_no_owner() -> None:
    assert list(HashRing().walk(1)) == []


def test_two_controllers_agree_whatever_the_order_of_joining() -> None:
    here, there = HashRing(), HashRing()
    names = [f"http://worker-{number}:1" for number in range(5)]
    for name, reverse in zip(names, reversed(names), strict=True):
        here.add(name)
        there.add(reverse)
    assert [list(here.walk(key)) for key in KEYS[:50]] == [
        list(there.walk(key)) for key in KEYS[:50]
    ]
