"""Batches hold samples of one kind and of about one length, each once an epoch."""

import random

from llava_serve.training.batch_order import GroupedSampler

SIZE = 4


def samples(count: int) -> tuple[list[int], bytearray]:
    drawn = random.Random(1)
    kinds = bytearray(drawn.randrange(2) for _ in range(count))
    return [drawn.randrange(10, 2000) for _ in range(count)], kinds


def batches(order: list[int]) -> list[list[int]]:
    return [order[i : i + SIZE] for i in range(0, len(order), SIZE)]


def test_each_sample_comes_once_and_batches_are_of_one_kind_but_the_last() -> None:
    lengths, kinds = samples(403)
    sampler = GroupedSampler(lengths, kinds, SIZE, seed=7)
    order = list(sampler)
    assert len(sampler) == 403
    assert sorted(order) == list(range(403))
    mixed = [i for i, each in enumerate(batches(order)) if len({kinds[at] for at in each}) > 1]
    assert all(i >= len(batches(order)) - 2 for i in mixed)


def test_samples_of_a_batch_are_about_as_long() -> None:
    lengths, kinds = samples(400)

    def padding(order: list[int]) -> int:
        return sum(
            max(lengths[i] for i in each) * len(each) - sum(lengths[i] for i in each)
            for each in batches(order)
        )

    grouped = padding(list(GroupedSampler(lengths, kinds, SIZE, seed=7)))
    assert grouped < padding(list(range(400))) / 4


def test_an_epoch_s_order_depends_on_seed_and_epoch_alone() -> None:
    lengths, kinds = samples(50)
    one, two = (GroupedSampler(lengths, kinds, SIZE, seed=7) for _ in range(2))
    first = list(one)
    one.set_epoch(3)
    two.set_epoch(3)
    assert list(one) == list(two) != first
    assert list(GroupedSampler(lengths, kinds, SIZE, seed=8)) != first


def test_one_kind_alone_is_grouped_by_length() -> None:
    assert sorted(GroupedSampler([5, 3, 9], bytes(3), SIZE, seed=0)) == [0, 1, 2]
