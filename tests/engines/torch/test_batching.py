"""Joining, leaving, sharing and starting over change nothing in what a request is answered."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from random import Random

import pytest

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.request import (
    Conversation,
    Delta,
    GenerateRequest,
    Image,
    Message,
    SamplingParams,
    Usage,
)

MakeImage = Callable[[int, int], Image]
WORDS = ["a", "picture", "of", "some", "red", "circles", "that", "nobody", "has", "seen"]


@pytest.fixture(params=["llava", "llava_onevision"])
def endless(request: pytest.FixtureRequest, loaded: Callable[[str], LoadedModel]) -> LoadedModel:
    return replace(loaded(request.param), stop_ids=frozenset())


def request(*messages: Message, max_new_tokens: int = 12, **sampling: float) -> GenerateRequest:
    settings = SamplingParams(temperature=0, max_new_tokens=max_new_tokens)
    return GenerateRequest(
        request_id="req-1",
        prompt=Conversation(messages),
        sampling=replace(settings, **sampling),  # type: ignore[arg-type]
    )


def user(*parts: str | Image) -> Message:
    return Message("user", parts)


async def answer(stream: AsyncGenerator[Delta]) -> tuple[str, Usage]:
    deltas = [delta async for delta in stream]
    assert deltas[-1].usage is not None
    return "".join(delta.text for delta in deltas), deltas[-1].usage


async def asked_alone(
    loaded: LoadedModel, budget: EngineBudget, requests: list[GenerateRequest]
) -> list[str]:
    """Each request answered by an engine that has seen no other."""
    texts = []
    for each in requests:
        engine = TorchEngine(loaded, budget)
        texts.append((await answer(engine.stream(each)))[0])
        engine.close()
    return texts


def random_requests(rng: Random, picture: MakeImage, count: int) -> list[GenerateRequest]:
    """Some with pictures, some sampled, many with the same beginning."""
    requests = []
    for i in range(count):
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 25)))
        parts: list[str | Image] = [text]
        if rng.random() < 0.5:
            parts.insert(0, picture(40 + 8 * rng.randrange(2), 40))
        sampling = {"temperature": 1.0, "seed": i} if rng.random() < 0.3 else {}
        system = Message("system", ("You answer questions about pictures.",))
        requests.append(
            request(system, user(*parts), max_new_tokens=rng.randint(1, 16), **sampling)
        )
    return requests


@pytest.mark.parametrize("slots", [1, 3, 8])
async def test_a_request_is_answered_alone_as_in_any_company(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget, slots: int
) -> None:
    """Requests join at random times, and others leave in the middle."""
    rng = Random(slots)
    requests = random_requests(rng, picture, 8)
    expected = await asked_alone(endless, budget, requests)
    engine = TorchEngine(endless, replace(budget, slots=slots, kv_tokens=4096))

    async def joins(each: GenerateRequest, delay: int) -> str:
        for _ in range(delay):
            await asyncio.sleep(0.002)
        return (await answer(engine.stream(each)))[0]

    async def leaves(each: GenerateRequest) -> None:
        async with aclosing(engine.stream(each)) as deltas:
            await anext(deltas)

    answers = [joins(each, rng.randrange(30)) for each in requests]
    leavers = [leaves(request(user(f"number {i}"), max_new_tokens=50)) for i in range(4)]
    texts, _ = await asyncio.gather(asyncio.gather(*answers), asyncio.gather(*leavers))
    engine.close()
    assert texts == expected


async def test_a_full_cache_makes_some_start_over_and_nobody_fail(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget, caplog: pytest.LogCaptureFixture
) -> None:
    """Two long answers start together in a cache that cannot hold the whole of both."""
    caplog.set_level("INFO")
    requests = [request(user(f"{i} " + WORDS[i]), max_new_tokens=300) for i in range(3)]
    expected = await asked_alone(endless, budget, requests)
    engine = TorchEngine(endless, replace(budget, slots=3, kv_tokens=600))
    texts = await asyncio.gather(*(answer(engine.stream(each)) for each in requests))
    engine.close()
    assert [text for text, _ in texts] == expected
    assert "preempted" in caplog.text


@pytest.mark.parametrize("company", [0, 1])
async def test_who_loses_the_place_while_a_prompt_is_read_answers_as_if_alone(
    endless: LoadedModel,
    picture: MakeImage,
    budget: EngineBudget,
    caplog: pytest.LogCaptureFixture,
    company: int,
) -> None:
    """A long prompt, read token by token, is in the way of an older answer that needs more room.

    `company` asks the same as it does, and waits for what it reads.
    """
    caplog.set_level("INFO")
    older = request(user("Tell me more."), max_new_tokens=400)
    long = request(user(picture(40, 40), " ".join(WORDS * 5)))
    expected = await asked_alone(endless, budget, [older, long])
    caplog.clear()
    small = replace(budget, slots=2 + company, prefill_budget=1, kv_tokens=700)
    engine = TorchEngine(endless, small)
    stream = engine.stream(older)
    begun = await anext(stream)
    late = [asyncio.create_task(answer(engine.stream(long))) for _ in range(1 + company)]
    text, _ = await answer(stream)
    answers = await asyncio.gather(*late)
    engine.close()
    assert begun.text + text == expected[0]
    assert [text for text, _ in answers] == [expected[1]] * (1 + company)
    read = f"prefill {answers[0][1].prompt_tokens} tokens"
    order = re.findall(f"preempted|{read}", caplog.text)
    assert order == ["preempted", *[read] * (1 + company)]


async def test_the_next_turn_reads_only_what_is_new(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, budget)
    first = user(picture(48, 48), "What is this?")
    text, usage = await answer(engine.stream(request(first)))
    assert usage.cached_tokens < 10
    again = request(first, Message("assistant", (text,)), user("And what else?"))
    with_reuse, second = await answer(engine.stream(again))
    engine.close()
    assert second.cached_tokens >= usage.prompt_tokens - 1
    assert [with_reuse] == await asked_alone(endless, budget, [again])


async def test_another_picture_at_the_same_place_is_another_prompt(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, budget)
    one, two = (
        request(user(picture(48 + i, 48 + i), "What is this?"), max_new_tokens=8) for i in (0, 1)
    )
    _, first = await answer(engine.stream(one))
    text, other = await answer(engine.stream(two))
    engine.close()
    assert other.prompt_tokens == first.prompt_tokens
    assert other.cached_tokens < first.prompt_tokens - first.image_tokens
    assert [text] == await asked_alone(endless, budget, [two])


async def test_a_picture_is_encoded_once(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, budget)
    before = engine.status()
    shown = picture(48, 48)
    await asyncio.gather(
        *(answer(engine.stream(request(user(text, shown)))) for text in ("one", "two", "three"))
    )
    await answer(engine.stream(request(user("four", shown))))
    status = engine.status()
    engine.close()
    assert status.feature_misses - before.feature_misses == 1
    assert status.feature_hits - before.feature_hits == 3


async def test_twins_read_their_prompt_once(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, replace(budget, slots=4))
    twins = [
        request(user(picture(48, 48), "What is this?"), temperature=1.0, seed=i) for i in range(4)
    ]
    usages = [
        usage for _, usage in await asyncio.gather(*(answer(engine.stream(t)) for t in twins))
    ]
    engine.close()
    prompt = usages[0].prompt_tokens
    assert sorted(usage.cached_tokens for usage in usages)[1:] == [prompt - 1] * 3


async def test_nothing_is_held_when_nobody_is_there(
    endless: LoadedModel, picture: MakeImage, budget: EngineBudget
) -> None:
    engine = TorchEngine(endless, replace(budget, slots=4))
    requests = random_requests(Random(0), picture, 12)
    await asyncio.gather(*(answer(engine.stream(each)) for each in requests))
    status = engine.status()
    engine.close()
    assert status.kv_tokens_held == 0
    assert 0 < status.kv_tokens_cached <= status.kv_tokens_total
