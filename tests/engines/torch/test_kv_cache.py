from random import Random

import numpy as np
import pytest

from llava_serve.engines.torch.kv_cache import (
    Allocation,
    Keys,
    KVAllocator,
    KVRegion,
    common_prefix,
)


def keys(text: str) -> Keys:
    return np.array([ord(letter) for letter in text], dtype=np.int64)


def run(allocator: KVAllocator, text: str, room: int = 2) -> Allocation:
    """A sequence whose prompt is computed, with room for two more tokens."""
    allocation = allocator.allocate(keys(text), len(text) + room)
    assert allocation is not None
    allocation.region.end_prefill()
    return allocation


def finish(allocator: KVAllocator, allocation: Allocation, text: str) -> None:
    allocator.free(allocation.region, keys(text))


def test_the_common_prefix_ends_at_the_first_difference() -> None:
    assert common_prefix(keys("abcd"), keys("abxd")) == 2
    assert common_prefix(keys("abcd"), keys("ab")) == 2
    assert common_prefix(keys(""), keys("ab")) == 0
    assert common_prefix(keys("x"), keys("ab")) == 0


def test_the_next_turn_grows_the_region_of_the_last_one() -> None:
    allocator = KVAllocator(100)
    finish(allocator, run(allocator, "system question"), "system question answer")
    allocation = run(allocator, "system question answer again")
    assert (allocation.num_cached_tokens, allocation.copy_from, allocation.region.start) == (
        22,
        None,
        0,
    )


def test_the_last_token_is_always_left_to_compute() -> None:
    allocator = KVAllocator(100)
    finish(allocator, run(allocator, "question"), "question")
    assert run(allocator, "question").num_cached_tokens == len("question") - 1


def test_a_running_request_lends_its_prefix_as_a_copy() -> None:
    allocator = KVAllocator(100)
    first = run(allocator, "the same picture, one question")
    second = run(allocator, "the same picture, two questions")
    assert second.num_cached_tokens == len("the same picture, ")
    assert second.copy_from == first.region.start
    assert second.region.start >= first.region.end


def test_a_prefix_that_shares_little_is_copied_not_overwritten() -> None:
    allocator = KVAllocator(100)
    finish(allocator, run(allocator, "system: a long conversation"), "system: a long conversation")
    other = run(allocator, "system: b")
    assert (other.num_cached_tokens, other.copy_from) == (len("system: "), 0)
    finish(allocator, other, "system: b")
    assert run(allocator, "system: a long conversation goes on").num_cached_tokens == 27


def test_the_least_recently_used_prefix_is_evicted_first() -> None:
    allocator = KVAllocator(24)
    for text in ("aaaaaaaa", "bbbbbbbb", "cccccccc", "aaaaaaaa"):
        finish(allocator, run(allocator, text, room=0), text)
    run(allocator, "dddddddd", room=0)
    assert {chr(region.keys[0]) for region in allocator._regions} == {"a", "c", "d"}


def test_without_room_a_request_waits_until_another_ends() -> None:
    allocator = KVAllocator(20)
    first = run(allocator, "aaaaaaaaaa")
    assert allocator.allocate(keys("bbbbbbbbbb"), 12) is None
    finish(allocator, first, "aaaaaaaaaa")
    assert allocator.allocate(keys("bbbbbbbbbb"), 12) is not None


def test_a_sequence_waits_for_the_one_whose_prefill_computes_the_same() -> None:
    allocator = KVAllocator(1000)
    prompt = keys("a prompt that is long enough to wait for")
    first = allocator.allocate(prompt, 60)
    assert first is not None
    assert allocator.is_being_prefilled(prompt)
    assert not allocator.is_being_prefilled(keys("another prompt that nobody is computing at all"))
    first.region.end_prefill()
    assert not allocator.is_being_prefilled(prompt)
    second = allocator.allocate(prompt, 60)
    assert second is not None
    assert second.num_cached_tokens == len(prompt) - 1


def test_a_region_grows_in_place_or_moves_with_what_it_holds() -> None:
    allocator = KVAllocator(40)
    first = run(allocator, "aaaa", room=0).region
    second = run(allocator, "bbbb", room=0).region
    grown = allocator.extend(second, 8)
    assert grown is not None
    assert (grown.region, grown.copy_from) == (second, None)
    moved = allocator.extend(first, 8)
    assert moved is not None
    assert (moved.copy_from, moved.num_cached_tokens, moved.region.capacity) == (0, 4, 8)
    assert moved.region.start >= second.end
    assert allocator.extend(moved.region, 40) is None


def test_what_has_no_keys_leaves_nothing() -> None:
    allocator = KVAllocator(10)
    finish(allocator, run(allocator, "abc"), "")
    assert (allocator.held, allocator.cached) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_regions_never_overlap_and_reuse_is_always_true(seed: int) -> None:
    """A random life: every place is written with its key, and checked when it is reused."""
    rng = Random(seed)
    total = 120
    allocator, memory = KVAllocator(total), np.full(total, -1)
    running: list[tuple[KVRegion, list[int]]] = []
    for _ in range(300):
        if running and rng.random() < 0.4:
            region, tokens = running.pop(rng.randrange(len(running)))
            allocator.free(region, np.array(tokens[: rng.randint(0, len(tokens))], dtype=np.int64))
        elif running and rng.random() < 0.3:
            i = rng.randrange(len(running))
            region, tokens = running[i]
            allocation = allocator.extend(region, region.capacity + rng.randint(1, 5))
            if allocation is not None:
                move(memory, allocation)
                running[i] = (allocation.region, tokens)
        else:
            tokens = [rng.randint(0, 1) for _ in range(rng.randint(1, 30))]
            allocation = allocator.allocate(np.array(tokens), len(tokens) + rng.randint(0, 5))
            if allocation is not None:
                move(memory, allocation)
                assert (
                    list(memory[allocation.region.start :][: allocation.num_cached_tokens])
                    == tokens[: allocation.num_cached_tokens]
                )
                memory[allocation.region.start : allocation.region.start + len(tokens)] = tokens
                allocation.region.end_prefill()
                running.append((allocation.region, tokens))
        places = [p for region in allocator._regions for p in range(region.start, region.end)]
        assert len(places) == len(set(places)) <= total
        assert allocator.held == sum(region.capacity for region, _ in running)
        for region, tokens in running:
            assert list(memory[region.start : region.start + len(tokens)]) == tokens


def move(memory: Keys, allocation: Allocation) -> None:
    if allocation.copy_from is not None:
        copied = memory[
            allocation.copy_from : allocation.copy_from + allocation.num_cached_tokens
        ].copy()
        memory[allocation.region.start : allocation.region.start + allocation.num_cached_tokens] = (
            copied
        )
