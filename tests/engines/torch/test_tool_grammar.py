"""Answers that call tools: whatever the model makes of the question, their arguments fit."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.errors import InvalidField
from llava_serve.request import Conversation, Delta, GenerateRequest, Message
from llava_serve.tools import Tool, ToolChoice
from tests.checkpoints.tool_checkpoint import HERMES, LLAMA, MISTRAL, tool_checkpoint
from tests.engines.torch.conftest import request
from tests.engines.torch.random_schemas import random_schema
from tests.engines.torch.test_resuming import deltas_of

MUST = ToolChoice(is_required=True)
WEATHER = Tool("weather", {"properties": {"city": {"type": "string", "maxLength": 9}}})
PAINT = Tool(
    "paint",
    {
        "type": "object",
        "$defs": {"color": {"enum": ["red", "blue"]}},
        "properties": {"color": {"$ref": "#/$defs/color"}, "n": {"type": "integer", "maximum": 9}},
        "required": ["color"],
    },
)
Calls = list[tuple[str | None, Any]]


@pytest.fixture(scope="module", params=["hermes", "mistral", "llama"])
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TorchEngine]:
    yield from _engine(request.param, tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="module")
def hermes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEngine]:
    yield from _engine("hermes", tmp_path_factory.mktemp("tools"))


def _engine(family: str, folder: Path) -> Iterator[TorchEngine]:
    template = {"hermes": HERMES, "mistral": MISTRAL, "llama": LLAMA}[family]
    special = "[TOOL_CALLS]" if family == "mistral" else "<|endoftext|>"
    path = tool_checkpoint(folder / family, template, special)
    loaded = load(ModelConfig(model_path=str(path), device="cpu"))
    engine = TorchEngine(loaded, choose_budget(loaded, slots=8))
    yield engine
    engine.close()


def asked(*tools: Tool, choice: ToolChoice = MUST, **sampling: Any) -> GenerateRequest:
    given: dict[str, Any] = {"max_new_tokens": 1000, "tool_choice": choice} | sampling
    plain = request("What is there?", **given)
    question = Message("user", ("What is there?",))
    return replace(plain, prompt=Conversation((question,), tools=tools))


async def answer(engine: TorchEngine, asks: GenerateRequest) -> tuple[str, Calls, Delta]:
    deltas = await deltas_of(engine, asks)
    calls: dict[int, tuple[str | None, str]] = {}
    for part in (part for delta in deltas for part in delta.tool_calls):
        name, arguments = calls.get(part.index, (part.name, ""))
        calls[part.index] = (name, arguments + part.arguments)
    text = "".join(delta.text for delta in deltas)
    return text, [(name, json.loads(each)) for name, each in calls.values()], deltas[-1]


async def test_an_answer_that_must_call_calls_and_says_nothing_else(family: TorchEngine) -> None:
    text, calls, last = await answer(family, asked(WEATHER, PAINT, choice=MUST, seed=1))
    assert (text, last.finish_reason) == ("", "tool_calls")
    for name, arguments in calls:
        tool = {"weather": WEATHER, "paint": PAINT}[str(name)]
        jsonschema.validate(arguments, tool.parameters)
    assert calls


async def test_the_one_that_is_named_is_called_once(family: TorchEngine) -> None:
    choice = ToolChoice(is_required=True, name="paint")
    text, [(name, arguments)], _ = await answer(family, asked(WEATHER, PAINT, choice=choice))
    assert (text, name) == ("", "paint")
    assert arguments["color"] in ("red", "blue")


async def test_an_answer_that_may_call_says_what_it_says_without_tools(
    family: TorchEngine,
) -> None:
    """The tiny model knows no tools; to allow calls alone changes none of its tokens."""
    free = asked(WEATHER, choice=ToolChoice(), max_new_tokens=30)
    one_at_most = replace(free.sampling, tool_choice=ToolChoice(is_parallel=False))
    text, calls, last = await answer(family, free)
    assert text and not calls and last.finish_reason in ("stop", "length")
    assert (await answer(family, replace(free, sampling=one_at_most)))[0] == text


@pytest.mark.parametrize(
    "batch", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 5))]
)
async def test_arguments_keep_to_any_schema(hermes: TorchEngine, batch: int) -> None:
    rng = Random(batch)
    tools = [
        Tool(
            "draw",
            {
                "$defs": {"leaf": {"type": "boolean"}},
                "properties": {"first": random_schema(rng), "second": random_schema(rng)},
                "required": ["first"],
            },
        )
        for _ in range(8)
    ]
    heat: list[dict[str, Any]] = [
        {"temperature": t, "seed": batch} for t in (0.0, 0.7, 1.0, 2.0) * 2
    ]
    asks = [asked(tool, **each) for tool, each in zip(tools, heat, strict=True)]
    for tool, (_, calls, last) in zip(
        tools, await asyncio.gather(*(answer(hermes, each) for each in asks)), strict=True
    ):
        assert last.finish_reason == "tool_calls"
        for name, arguments in calls:
            assert name == "draw"
            jsonschema.validate(arguments, {"type": "object", **tool.parameters})


async def test_an_answer_has_several_calls_unless_it_must_not(hermes: TorchEngine) -> None:
    tool, one = Tool("f", {"properties": {}}), ToolChoice(is_required=True, is_parallel=False)
    never_ends: dict[str, Any] = {
        "logit_bias": tuple((token, -100.0) for token in hermes._loaded.stop_ids)
    }
    assert (await answer(hermes, asked(tool, **never_ends)))[1] == [("f", {})] * 16
    assert (await answer(hermes, asked(tool, choice=one, **never_ends)))[1] == [("f", {})]


async def test_an_answer_of_a_form_may_call_instead(hermes: TorchEngine) -> None:
    form = json.dumps({"enum": ["red", "blue"]})
    may = asked(PAINT, choice=ToolChoice(), json_schema=form)
    text, calls, last = await answer(hermes, may)
    assert (text in ('"red"', '"blue"')) != bool(calls)
    assert last.finish_reason == ("tool_calls" if calls else "stop")


async def test_strict_arguments_are_kept_to_where_a_model_decides_to_call(
    hermes: TorchEngine,
) -> None:
    """A bias makes the tiny model begin a call; from there on the schema decides."""
    strict = replace(PAINT, is_strict=True)
    mark = hermes._loaded.tokenizer("<tool_call>", add_special_tokens=False).input_ids
    bias = tuple((token, 100.0) for token in set(mark))
    request_ = asked(strict, choice=ToolChoice(), logit_bias=bias, max_new_tokens=400)
    text, calls, _ = await answer(hermes, request_)
    for name, arguments in calls:
        assert name == "paint"
        jsonschema.validate(arguments, PAINT.parameters)
    assert calls or "<tool_call>" not in text


async def test_another_engine_goes_on_with_a_call(hermes: TorchEngine) -> None:
    asks = asked(WEATHER, PAINT, choice=MUST, temperature=1.0, seed=3)
    whole = await deltas_of(hermes, asks)
    tokens: tuple[int, ...] = ()
    told: list[tuple[int, str]] = []
    for delta in whole[:-1:5]:
        tokens = sum((each.tokens for each in whole[: whole.index(delta) + 1]), ())
        told = _pieces(whole[: whole.index(delta) + 1])
        rest = await deltas_of(hermes, replace(asks, resumed=tokens))
        assert rest[0].is_replay
        assert _joined(told + _pieces(rest[1:])) == _joined(_pieces(whole))
    assert tokens


def _pieces(deltas: list[Delta]) -> list[tuple[int, str]]:
    return [(call.index, call.arguments) for delta in deltas for call in delta.tool_calls]


def _joined(pieces: list[tuple[int, str]]) -> dict[int, str]:
    calls: dict[int, str] = {}
    for index, arguments in pieces:
        calls[index] = calls.get(index, "") + arguments
    return calls


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no object": ({"type": "array"}, "is a schema of 'array', and arguments an object"),
    "no guarantee": ({"minProperties": 3, "properties": {}}, "minProperties"),
    "no properties": ({"properties": [1]}, "properties must be an object$"),
    "no schema": ({"properties": {"a": {"type": "sometype"}}}, "sometype"),
}


@pytest.mark.parametrize(("schema", "reason"), REFUSED.values(), ids=REFUSED)
async def test_parameters_that_cannot_be_kept_to_are_refused_by_name(
    hermes: TorchEngine, schema: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidField, match=reason) as refused:
        await answer(hermes, asked(WEATHER, Tool("f", schema)))
    assert refused.value.param in ("tools", "tools.1.function.parameters")
