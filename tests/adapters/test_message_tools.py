"""Tools of Anthropic's Messages, as the `anthropic` client asks for calls and gives results."""

import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message
from PIL import Image

from llava_serve.request import Delta
from llava_serve.tools import ToolCallDelta, ToolChoice
from tests.adapters.conftest import stack_of
from tests.adapters.test_messages import client_of, image_block
from tests.adapters.tool_answers import (
    CALLING,
    FIRST,
    SCHEMA,
    WEATHER,
    caller,
    end,
    shown,
    tools_of,
)
from tests.worker.conftest import ScriptedEngine

TOOL = {"name": "get_weather", "description": WEATHER.description, "input_schema": SCHEMA}
QUESTION: dict[str, Any] = {"role": "user", "content": "Weather?"}
CUT = "Let me see.", FIRST[0]


def asked(**fields: Any) -> dict[str, Any]:
    body = {"model": "scripted", "max_tokens": 100, "messages": [QUESTION], "tools": [TOOL]}
    return body | fields


async def answer_of(engine: ScriptedEngine, **fields: Any) -> Message:
    async with stack_of(engine) as stack, client_of(stack.worker) as client:
        message: Message = await client.messages.create(**asked(**fields))
        return message


async def events_of(engine: ScriptedEngine, **fields: Any) -> tuple[list[Any], Message]:
    async with (
        stack_of(engine) as stack,
        client_of(stack.controller) as client,
        client.messages.stream(**asked(**fields)) as stream,
    ):
        events = [event.model_dump() async for event in stream]
        return events, await stream.get_final_message()


def told(message: Message) -> dict[str, Any]:
    return message.model_dump(exclude={"id", "usage"}, exclude_none=True)


async def test_an_answer_has_calls_with_their_input() -> None:
    engine = caller(*CALLING, end())
    answer = await answer_of(engine)
    assert told(answer)["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "abcdefghi", "name": "get_weather", "input": {"city": "Kyoto"}},
        {"type": "tool_use", "id": "ihgfedcba", "name": "get_time", "input": {}},
    ]
    assert answer.stop_reason == "tool_use"
    Message.model_validate(answer.model_dump(), strict=True)
    assert tools_of(engine) == (WEATHER,)


async def test_events_open_and_close_one_block_after_the_other() -> None:
    behind: Any = (*CALLING, " So.", end())
    events, joined = await events_of(caller(*behind))
    raw = [event for event in events if event["type"] not in ("text", "input_json")]
    kinds = [
        (event["type"].removeprefix("content_block_"), event["index"])
        for event in raw
        if event["type"].startswith("content_block_")
    ]
    assert kinds == [
        *(("start", 0), ("delta", 0), ("stop", 0)),
        *(("start", 1), ("delta", 1), ("delta", 1), ("stop", 1)),
        *(("start", 2), ("delta", 2), ("stop", 2)),
        *(("start", 3), ("delta", 3), ("stop", 3)),
    ]
    assert [event["type"] for event in raw[-2:]] == ["message_delta", "message_stop"]
    deltas = [event["delta"] for event in raw if event["type"] == "content_block_delta"]
    assert deltas[1] == {"type": "input_json_delta", "partial_json": '{"city": "'}
    first = next(event for event in raw if event.get("index") == 1)["content_block"]
    assert (first["id"], first["name"], first["input"]) == ("abcdefghi", "get_weather", {})
    assert [block.type for block in joined.content] == ["text", "tool_use", "tool_use", "text"]


async def test_events_joined_are_the_whole_answer() -> None:
    _, joined = await events_of(caller(*CALLING, end()))
    assert told(joined) == told(await answer_of(caller(*CALLING, end())))


async def test_an_answer_may_be_calls_alone() -> None:
    _, joined = await events_of(caller(*FIRST, end()))
    whole = await answer_of(caller(*FIRST, end()))
    assert told(joined) == told(whole)
    assert [block.type for block in whole.content] == ["tool_use"]


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (end("length"), ("max_tokens", None)),
        (end("tool_calls", stop="Kyo"), ("stop_sequence", "Kyo")),
        (end(), ("end_turn", None)),
    ],
)
async def test_a_call_that_was_cut_off_is_text(last: Delta, why: tuple[str, str | None]) -> None:
    """Nobody may take what is left of its arguments for all of them."""
    answer = await answer_of(caller(*CUT, last), stop_sequences=["Kyo"])
    written = '{"name": "get_weather", "arguments": {"city": "'
    assert [block.to_dict() for block in answer.content] == [
        {"type": "text", "text": text} for text in ("Let me see.", written)
    ]
    assert (answer.stop_reason, answer.stop_sequence) == why
    events, joined = await events_of(caller(*CUT, last), stop_sequences=["Kyo"])
    assert (joined.stop_reason, joined.stop_sequence) == why
    assert [event["type"] for event in events[-3:]] == [
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_call_before_a_stop_is_to_be_answered() -> None:
    answer = await answer_of(caller(*FIRST, end(stop="</")), stop_sequences=["</"])
    assert (answer.stop_reason, answer.stop_sequence) == ("tool_use", None)


async def test_arguments_that_are_no_json_are_text() -> None:
    bad = Delta(tool_calls=(ToolCallDelta(0, "{'city': 1}", "abcdefghi", "get_weather"),))
    answer = await answer_of(caller(bad, end()))
    assert json.dumps(told(answer)["content"]).count("tool_use") == 0
    assert answer.stop_reason == "end_turn"


async def test_calls_and_results_come_back() -> None:
    engine = caller("ok", end("stop"))
    first = await answer_of(caller(*CALLING, end()))
    results = [
        {
            "type": "tool_result",
            "tool_use_id": "abcdefghi",
            "content": [{"type": "text", "text": "Sunny."}, image_block(Image.new("RGB", (4, 4)))],
            "cache_control": {"type": "ephemeral"},
        },
        {
            "type": "tool_result",
            "tool_use_id": "ihgfedcba",
            "is_error": True,
            "content": "no clock",
        },
        {"type": "text", "text": "And?"},
    ]
    assistant = {"role": "assistant", "content": first.content}
    messages = [QUESTION, assistant, {"role": "user", "content": results}]
    assert told(await answer_of(engine, messages=messages))["stop_reason"] == "end_turn"
    calls = [("abcdefghi", "get_weather", {"city": "Kyoto"}), ("ihgfedcba", "get_time", {})]
    assert shown(engine) == [
        ("user", "Weather?"),
        ("assistant", "Let me see.", calls),
        ("tool", "Sunny.<image>", "abcdefghi"),
        ("tool", "Error: no clock", "ihgfedcba"),
        ("user", "And?"),
    ]


async def test_a_result_may_be_all_that_a_turn_has() -> None:
    engine = caller("ok", end("stop"))
    call = {"type": "tool_use", "id": "x", "name": "get_time", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "x"}
    messages = [
        QUESTION,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    await answer_of(engine, messages=messages)
    no_arguments: dict[str, Any] = {}
    called = ("assistant", "", [("x", "get_time", no_arguments)])
    assert shown(engine) == [("user", "Weather?"), called, ("tool", "", "x")]


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ({"type": "auto"}, ToolChoice()),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(is_parallel=False)),
        ({"type": "any"}, ToolChoice(is_required=True)),
        (
            {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
            ToolChoice(is_required=True, name="get_weather", is_parallel=False),
        ),
    ],
)
async def test_a_choice_is_what_the_model_is_held_to(choice: Any, meant: ToolChoice) -> None:
    engine = caller("ok", end("stop"))
    await answer_of(engine, tool_choice=choice)
    assert engine.asked[0].sampling.tool_choice == meant


async def test_tools_that_must_not_be_called_are_not_shown() -> None:
    engine = caller("ok", end("stop"))
    await answer_of(engine, tool_choice={"type": "none"})
    assert tools_of(engine) == ()


USE = {"type": "tool_use", "id": "x", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "x", "content": "5"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [TOOL, TOOL]}, "tools.1.name"),
        ({"tools": [TOOL | {"name": "a b"}]}, "tools.0.name"),
        ({"tools": [TOOL | {"input_schema": []}]}, "tools.0.input_schema"),
        ({"tools": [TOOL | {"input_examples": [{}]}]}, "tools.0.input_examples"),
        ({"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]}, "tools.1.type"),
        ({"tool_choice": {"type": "tool", "name": "other"}}, "tool_choice"),
        ({"tool_choice": {"type": "any"}, "tools": []}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"messages": [{"role": "user", "content": [USE]}]}, "messages.0.content"),
        (
            {"messages": [QUESTION, {"role": "assistant", "content": [RESULT]}]},
            "messages.1.content",
        ),
        ({"messages": [QUESTION, {"role": "assistant", "content": [USE]}]}, "messages.1"),
    ],
)
async def test_what_is_wrong_with_a_tool_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as failed:
        await answer_of(caller("ok", end("stop")), **fields)
    error: Any = failed.value.body
    assert error["error"]["param"] == named
    assert error["error"]["message"].startswith(named)


async def test_a_model_that_has_no_tools_says_so_of_calls() -> None:
    messages = [QUESTION, {"role": "assistant", "content": [USE]}, {"role": "user", "content": "5"}]
    with pytest.raises(anthropic.BadRequestError) as failed:
        await answer_of(ScriptedEngine("ok"), tools=[], messages=messages)
    error: Any = failed.value.body
    assert error["error"]["param"] == "messages.1.content.0"
