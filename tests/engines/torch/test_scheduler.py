import asyncio
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from llava_serve.engines.torch.kv_cache import KVAllocator
from llava_serve.engines.torch.output import OutputProcessor
from llava_serve.engines.torch.sampling import SamplerState
from llava_serve.engines.torch.scheduler import Scheduler
from llava_serve.engines.torch.sequence import DeltaQueue, PreprocessedPrompt, Sequence, Status
from llava_serve.engines.torch.vision import EmbeddedPrompt
from llava_serve.request import GenerateRequest, ReadyPrompt, SamplingParams
from scripts.random_checkpoint import byte_tokenizer

TOKENIZER = byte_tokenizer()


def sequence(name: str, length: int) -> Sequence:
    """Return one that is ready for prefill and shares no prefix with another."""
    sampling = SamplingParams()
    made = Sequence(
        GenerateRequest(request_id=name, prompt=ReadyPrompt(name), sampling=sampling),
        PreprocessedPrompt([], {}, 0.0),
        DeltaQueue(asyncio.get_running_loop()),
        arrived_at=0.0,
    )
    tokens = list(range(1000 * ord(name), 1000 * ord(name) + length))
    prompt = EmbeddedPrompt(tokens, torch.empty(length, 0), np.array(tokens), image_tokens=0)
    output = OutputProcessor(TOKENIZER, sampling, (), (), max_new_tokens=1000)
    made.complete_prompt(prompt, SamplerState.of(sampling), output)
    return made


def scheduler(*names: str, slots: int = 2, length: int = 1, kv_tokens: int = 10_000) -> Scheduler:
    made = Scheduler(
        slots, prefill_budget=8, idle_prefill_budget=100, allocator=KVAllocator(kv_tokens)
    )
    for name in names:
        made.add(sequence(name, length))
    return made


def admit(scheduler: Scheduler) -> str:
    running = list(scheduler.running)
    scheduler.schedule()
    return names(each for each in scheduler.running if each not in running)


def names(sequences: Iterable[Sequence]) -> str:
    return "".join(sequence.request.request_id for sequence in sequences)


def step(scheduler: Scheduler) -> list[tuple[str, int]]:
    return [(names([each.sequence]), each.count) for each in scheduler.schedule().tokens]


async def test_who_came_first_runs_first_and_no_more_than_the_slots() -> None:
    four = scheduler("a", "b", "c", "d")
    assert admit(four) == "ab"
    assert admit(four) == ""
    four.finish(four.running[0])
    assert admit(four) == "c"
    assert (names(four.running), names(four.waiting)) == ("bc", "d")


async def test_a_waiting_sequence_can_leave() -> None:
    three = scheduler("a", "b", "c", slots=1)
    admit(three)
    three.finish(three.waiting[0])
    three.finish(three.running[0])
    assert admit(three) == "c"


async def test_an_empty_scheduler_is_falsy() -> None:
    assert not scheduler()
    one = scheduler("a")
    assert one
    admit(one)
    assert len(one) == 1
    assert step(one)


async def test_a_preempted_sequence_is_the_next_to_get_a_slot() -> None:
    three = scheduler("a", "b", "c")
    admit(three)
    three.preempt(three.running[1])
    assert names(three.waiting) == "bc"
    assert admit(three) == "b"


async def test_a_full_cache_preempts_the_youngest_which_computes_its_tokens_again() -> None:
    two = scheduler("a", "b", length=10, kv_tokens=560)
    first, second = two.sequences
    assert step(two) == [("a", 10), ("b", 10)]
    for each in (first, second):
        each.advance(10)
        each.append(65)
    while first.num_computed_tokens < first.region.capacity:
        assert step(two) == [("a", 1), ("b", 1)]
        for each in (first, second):
            each.advance(1)
            each.append(65)
    assert step(two) == [("a", 1)]
    assert (second.status, list(two.waiting)) == (Status.READY, [second])
    kept = list(second.tokens)
    two.finish(first)
    assert step(two) == [("b", 100)]
    assert (second.status, second.tokens) == (Status.PREFILL, kept)


async def test_prompts_are_computed_in_the_order_they_came() -> None:
    three = scheduler("a", "b", "c", slots=3, length=60)
    assert step(three) == [("a", 60), ("b", 40)]


async def test_answers_advance_while_a_long_prompt_is_computed_in_chunks() -> None:
    three = scheduler("a", "b", "c", slots=3, length=60)
    admit(three)
    for each in three.running[1:]:
        each.advance(60)
        each.append(65)
    assert step(three) == [("b", 1), ("c", 1), ("a", 8)]


def of_batch(name: str, length: int = 1) -> Sequence:
    made = sequence(name, length)
    made.request = replace(made.request, is_batch=True)
    return made


async def test_a_step_is_of_batches_or_of_others() -> None:
    both = scheduler("a", slots=3)
    both.add(of_batch("b"))
    both.add(sequence("c", 1))
    assert step(both) == [("a", 1), ("c", 1)]
    assert names(each.sequence for each in both.schedule(of_batches=True).tokens) == "b"


async def test_the_answers_of_a_batch_make_room_for_others() -> None:
    cramped = scheduler(slots=3, kv_tokens=640)
    for name in ("b", "d"):
        cramped.add(of_batch(name, 10))
    cramped.schedule(of_batches=True)
    assert names(cramped.running) == "bd"
    cramped.add(sequence("a", 100))
    assert step(cramped) == [("a", 100)]
    assert (names(cramped.running), names(cramped.waiting)) == ("ba", "d")


async def test_nobody_waits_for_the_prefill_of_a_batch() -> None:
    both = scheduler(slots=3)
    both.add(of_batch("a", 60))
    both.schedule(of_batches=True)
    both.add(sequence("a", 60))
    assert step(both) == [("a", 60)]
    assert len(both.running) == 2
    both.add(of_batch("a", 60))
    both.schedule(of_batches=True)
    assert names(both.waiting) == "a"  # which waits for one of the others
