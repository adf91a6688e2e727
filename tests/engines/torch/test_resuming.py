"""An answer that another engine began goes on as if this one had generated all of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import EngineBudget, choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.errors import InvalidField
from llava_serve.request import Delta, GenerateRequest, Image
from scripts.tiny.world import simple_image
from tests.engines.torch.conftest import Load, request

SHOWN = Image(simple_image("circle", "red", size=(96, 96)), "red circle")
QUESTION = (SHOWN, "Describe the picture.")


@pytest.fixture(scope="module")
def bundled() -> Iterator[TorchEngine]:
    loaded = load(ModelConfig(device="cpu"))
    engine = TorchEngine(loaded, choose_budget(loaded, slots=2))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def raw(loaded: Load, budget: EngineBudget) -> Iterator[TorchEngine]:
    """Random weights whose tokens are bytes: most are no whole character."""
    endless: LoadedModel = replace(loaded("llava_onevision"), stop_ids=frozenset())
    engine = TorchEngine(endless, budget)
    yield engine
    engine.close()


async def deltas_of(engine: TorchEngine, asked: GenerateRequest) -> list[Delta]:
    return [delta async for delta in engine.stream(asked)]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def end_of(deltas: list[Delta]) -> tuple[Any, ...]:
    last = deltas[-1]
    assert last.usage is not None
    return last.finish_reason, last.usage.prompt_tokens, last.usage.completion_tokens


async def gone_on_at_each_delta(engine: TorchEngine, asked: GenerateRequest) -> int:
    """Cut an answer behind each delta, and compare what goes on with the whole; count the cuts."""
    whole = await deltas_of(engine, asked)
    tokens: tuple[int, ...] = ()
    shown = ""
    for delta in whole[:-1]:
        tokens += delta.tokens
        shown += delta.text
        rest = await deltas_of(engine, replace(asked, resumed=tokens))
        assert (rest[0].is_replay, rest[0].text) == (True, shown)
        assert (text_of(rest), end_of(rest)) == (text_of(whole), end_of(whole))
        assert tokens + sum((each.tokens for each in rest), ()) == sum(
            (each.tokens for each in whole), ()
        )
    return len(whole) - 1


@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param({}, id="greedy"),
        pytest.param({"temperature": 1.0, "seed": 7}, id="sampled with a seed"),
        pytest.param({"repetition_penalty": 1.3}, id="what was said counts"),
        pytest.param({"frequency_penalty": 1.0, "presence_penalty": 0.7}, id="and how often"),
        pytest.param({"min_new_tokens": 12, "ignore_eos": False}, id="not to end too early"),
        pytest.param({"stop": ("center",)}, id="stop string"),
    ],
)
async def test_the_rest_is_the_rest_of_the_same_answer(
    bundled: TorchEngine, sampling: dict[str, Any]
) -> None:
    asked = request(*QUESTION, **{"max_new_tokens": 16, "ignore_eos": True} | sampling)
    assert await gone_on_at_each_delta(bundled, asked) >= 3


async def test_characters_of_several_tokens_come_whole(raw: TorchEngine) -> None:
    for question in ("one", "two", "three"):
        await gone_on_at_each_delta(raw, request(question, max_new_tokens=40))


async def test_a_token_that_shows_nothing_is_told_with_the_next_text(raw: TorchEngine) -> None:
    whole = await deltas_of(raw, request("one", max_new_tokens=40))
    told = [len(delta.tokens) for delta in whole[:-1]]
    assert max(told) > 1
    assert min(told) >= 1


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param((10**6,), id="beyond the vocabulary"),
        pytest.param((-1,), id="negative"),
        pytest.param((5,) * 8, id="as many as are asked for"),
    ],
)
async def test_tokens_that_no_answer_has_are_refused(
    bundled: TorchEngine, tokens: tuple[int, ...]
) -> None:
    asked = replace(request(*QUESTION, max_new_tokens=8), resumed=tokens)
    with pytest.raises(InvalidField, match="resume_tokens"):
        await deltas_of(bundled, asked)
    assert await deltas_of(bundled, request(*QUESTION))  # the engine goes on


async def test_an_end_token_is_no_answer_to_go_on_with(bundled: TorchEngine) -> None:
    (end, *_) = sorted(load(ModelConfig(device="cpu")).stop_ids)
    asked = replace(request(*QUESTION, max_new_tokens=8), resumed=(end,))
    with pytest.raises(InvalidField, match="ends the answer"):
        await deltas_of(bundled, asked)
