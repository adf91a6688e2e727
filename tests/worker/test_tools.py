"""Clients give tools to a model that knows them, over real sockets, and are refused by one without.

The tiny model makes no sense of tools: that its calls can be read is all that counts.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from llava_serve.checkpoints.load import load
from llava_serve.config import ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.errors import UnsupportedField
from llava_serve.http.serving import served
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.worker.app import build_app
from llava_serve.worker.tools import check_tools
from tests.checkpoints.tool_checkpoint import tool_checkpoint
from tests.worker.conftest import MAX_BODY_BYTES, MakeWorker
from tests.worker.test_openai_client import image_message

TOOL = {
    "type": "function",
    "function": {
        "name": "report",
        "description": "Report what is seen.",
        "parameters": {
            "type": "object",
            "properties": {
                "color": {"enum": ["red", "blue"]},
                "count": {"type": "integer", "minimum": 0, "maximum": 9},
            },
            "required": ["color"],
        },
    },
}
ASKED: dict[str, Any] = {
    "model": "tools",
    "messages": image_message("What color is the circle?"),
    "max_tokens": 300,
    "tools": [TOOL],
}
NAMED: dict[str, Any] = {"type": "function", "function": {"name": "report"}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEngine]:
    folder = tool_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tools")
    loaded = load(ModelConfig(model_path=str(folder), device="cpu"))
    engine = TorchEngine(loaded, choose_budget(loaded, slots=2))
    yield engine
    engine.close()


@pytest.fixture
async def client(engine: TorchEngine, make_worker: MakeWorker) -> AsyncIterator[openai.AsyncOpenAI]:
    async with _client(engine, make_worker) as client:
        yield client


@pytest.fixture
async def without(make_worker: MakeWorker) -> AsyncIterator[openai.AsyncOpenAI]:
    async with _client(EchoEngine("tools"), make_worker) as client:
        yield client


@asynccontextmanager
async def _client(engine: Engine, make_worker: MakeWorker) -> AsyncIterator[openai.AsyncOpenAI]:
    app = build_app(make_worker(engine), max_body_bytes=MAX_BODY_BYTES)
    async with (
        served(app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


async def test_a_call_comes_back_and_its_result_goes_on(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(**ASKED, tool_choice="required")
    (choice,) = completion.choices
    calls = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert {call.function.name for call in calls} == {"report"}
    assert json.loads(calls[0].function.arguments)["color"] in ("red", "blue")
    results = [{"role": "tool", "tool_call_id": call.id, "content": "thanks"} for call in calls]
    messages = [*ASKED["messages"], choice.message.model_dump(exclude_none=True), *results]
    completion = await client.chat.completions.create(**ASKED | {"messages": messages})
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"


async def test_a_streamed_call_has_its_name_first_and_its_arguments_in_pieces(
    client: openai.AsyncOpenAI,
) -> None:
    stream = await client.chat.completions.create(**ASKED | {"tool_choice": NAMED, "stream": True})
    choices = [chunk.choices[0] async for chunk in stream]
    pieces = [call for choice in choices for call in choice.delta.tool_calls or ()]
    first, *others = pieces
    assert (first.type, first.function.name, len(first.id)) == ("function", "report", 9)
    assert all((each.index, each.id, each.function.name) == (0, None, None) for each in others)
    assert json.loads("".join(each.function.arguments for each in pieces))["color"]
    assert len(others) > 3
    assert choices[-1].finish_reason == "tool_calls"
    assert not any(choice.delta.content for choice in choices)


async def test_tools_that_are_not_called_change_nothing_of_the_answer(
    client: openai.AsyncOpenAI,
) -> None:
    completion = await client.chat.completions.create(**ASKED)
    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].finish_reason == "stop"


async def test_each_of_several_answers_calls(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(**ASKED | {"tool_choice": NAMED, "n": 2})
    assert [len(choice.message.tool_calls) for choice in completion.choices] == [1, 1]


async def test_tools_count_as_tokens_of_the_prompt(client: openai.AsyncOpenAI) -> None:
    with_tools = await client.chat.completions.create(**ASKED)
    without = await client.chat.completions.create(**ASKED, tool_choice="none")
    assert with_tools.usage.prompt_tokens > without.usage.prompt_tokens + 50


RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "red"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "report", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
QUESTION = ASKED["messages"][0]


def _called(**fields: Any) -> dict[str, Any]:
    return {**CALLED, "tool_calls": [{**CALL, "function": {**CALL["function"], **fields}}]}  # type: ignore[dict-item]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a choice without tools": ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    "a choice of another": (
        {"tool_choice": {"type": "function", "function": {"name": "other"}}},
        "tool_choice",
    ),
    "a choice that is none": ({"tool_choice": "perhaps"}, "tool_choice"),
    "two of one name": ({"tools": [TOOL, TOOL]}, "tools.1.function.name"),
    "no function": ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    "a bad name": (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools.0.function.name",
    ),
    "broken arguments": (
        {"messages": [QUESTION, _called(arguments="{"), RESULT]},
        "messages.1.tool_calls.0.function.arguments",
    ),
    "arguments that are a list": (
        {"messages": [QUESTION, _called(arguments="[]"), RESULT]},
        "messages.1.tool_calls.0.function.arguments",
    ),
    "a user's calls": ({"messages": [{**QUESTION, "tool_calls": [CALL]}]}, "messages.0.tool_calls"),
    "a result of nothing": (
        {"messages": [QUESTION, {"role": "tool", "content": "red"}]},
        "messages.1.tool_call_id",
    ),
    "a schema of no object": (
        {
            "tool_choice": "required",
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"type": "null"}}}
            ],
        },
        "tools.0.function.parameters",
    ),
    "a beginning and a call": (
        {
            "messages": [QUESTION, {"role": "assistant", "content": "It"}],
            "tool_choice": "required",
            "extra_body": {"continue_final_message": True},
        },
        "continue_final_message",
    ),
}


@pytest.mark.parametrize(("fields", "param"), REFUSED.values(), ids=REFUSED)
async def test_what_makes_no_sense_is_refused_by_name(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**ASKED | fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "tools"),
        ({"tools": [], "messages": [QUESTION, CALLED, RESULT]}, "messages.1.tool_calls"),
        ({"tools": [], "messages": [QUESTION, RESULT]}, "messages.1.role"),
    ],
)
async def test_a_model_whose_template_has_no_tools_says_so(
    without: openai.AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError, match="chat template of this model") as refused:
        await without.chat.completions.create(**ASKED | fields)
    assert refused.value.param == param


def test_an_sglang_server_that_reads_no_calls_is_to_be_started_with_a_parser() -> None:
    card = EchoEngine("tools").card.model_copy(update={"engine": "sglang"})
    body = parse_chat_request({"model": "tools", "messages": [QUESTION], "tools": [TOOL]})
    with pytest.raises(UnsupportedField, match="--tool-call-parser NAME"):
        check_tools(body, card)


async def test_a_model_without_tools_answers_where_none_may_be_called(
    without: openai.AsyncOpenAI,
) -> None:
    completion = await without.chat.completions.create(**ASKED, tool_choice="none")
    assert "What color" in completion.choices[0].message.content
