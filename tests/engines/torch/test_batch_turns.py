"""Batches advance in the time that others leave, and in a small part of theirs."""

from dataclasses import dataclass
from typing import cast

from llava_serve.engines.torch.batch_turns import BatchTurns
from llava_serve.engines.torch.sequence import Sequence
from llava_serve.request import GenerateRequest, ReadyPrompt, SamplingParams


@dataclass
class Asked:
    """What the turns look at."""

    request: GenerateRequest


def asked(*, is_batch: bool) -> Sequence:
    request = GenerateRequest(
        request_id="", prompt=ReadyPrompt(""), sampling=SamplingParams(), is_batch=is_batch
    )
    return cast("Sequence", Asked(request))


BATCH, OTHER = asked(is_batch=True), asked(is_batch=False)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_batch_that_is_alone_has_all_steps() -> None:
    turns = BatchTurns(Clock())
    assert [turns.is_next([BATCH]) for _ in range(3)] == [True] * 3
    assert turns.is_next([OTHER]) is False


def test_beside_others_a_batch_has_a_small_part_of_their_time() -> None:
    clock = Clock()
    turns = BatchTurns(clock)
    spent = 0.0
    while clock.now < 110:
        is_batch = turns.is_next([BATCH, OTHER])
        clock.now += 0.02
        if is_batch:
            spent += 0.02
            turns.count(0.02)
    assert 0.02 < spent / 10 < 0.04


def test_a_batch_begins_a_moment_after_others() -> None:
    clock = Clock()
    turns = BatchTurns(clock)
    turns.is_next([OTHER, BATCH])
    turns.count(0.5)
    clock.now += 0.05
    assert turns.is_next([BATCH]) is None
    assert 0 < turns.wait_s <= 0.05
    clock.now += 0.06
    assert turns.is_next([BATCH]) is True
