"""Tools of Ollama's chats, as its own client asks for calls and gives their results."""

import json
from typing import Any

import httpx
import ollama
import pytest
from PIL import Image

from tests.adapters.conftest import png_of, stack_of
from tests.adapters.ollama.conftest import client_of
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

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": WEATHER.description, "parameters": SCHEMA},
}
QUESTION: dict[str, Any] = {"role": "user", "content": "Weather?"}
CALLS: list[Any] = [("get_weather", {"city": "Kyoto"}), ("get_time", {})]


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [QUESTION], "tools": [TOOL]} | fields


async def answer_of(engine: ScriptedEngine, **fields: Any) -> ollama.ChatResponse:
    async with stack_of(engine) as stack, client_of(stack.worker) as client:
        answer: ollama.ChatResponse = await client.chat(**asked(**fields))
        return answer


async def lines_of(engine: ScriptedEngine) -> list[ollama.ChatResponse]:
    async with stack_of(engine) as stack, client_of(stack.controller) as client:
        return [line async for line in await client.chat(**asked(), stream=True)]


def calls_of(message: ollama.Message) -> list[Any]:
    calls = message.tool_calls or ()
    return [(call.function.name, call.function.arguments) for call in calls]


async def test_an_answer_has_whole_calls() -> None:
    engine = caller(*CALLING, end())
    answer = await answer_of(engine)
    assert (answer.message.content, answer.done_reason) == ("Let me see.", "stop")
    assert calls_of(answer.message) == CALLS
    assert tools_of(engine) == (WEATHER,)


async def test_a_line_has_a_call_once_it_is_whole() -> None:
    behind: Any = (*CALLING, " So.", end())
    lines = await lines_of(caller(*behind))
    told = [(line.message.content, calls_of(line.message), line.done) for line in lines]
    assert told == [
        ("Let me see.", [], False),
        ("", CALLS[:1], False),
        ("", CALLS[1:], False),
        (" So.", [], False),
        ("", [], True),
    ]


async def test_calls_have_ids_and_places() -> None:
    engine = caller(*CALLING, end())
    async with stack_of(engine) as stack, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{stack.worker}/api/chat", json=asked())
    lines = [json.loads(line)["message"] for line in answer.text.splitlines()]
    calls = [call for line in lines for call in line.get("tool_calls", ())]
    assert [(call["id"], call["function"]["index"]) for call in calls] == [
        ("abcdefghi", 0),
        ("ihgfedcba", 1),
    ]


async def test_a_call_that_was_cut_off_is_text() -> None:
    """Nobody may take what is left of its arguments for all of them."""
    written = '{"name": "get_weather", "arguments": {"city": "'
    whole = await answer_of(caller(FIRST[0], end("length")))
    assert (whole.message.content, calls_of(whole.message)) == (written, [])
    assert whole.done_reason == "length"
    lines = await lines_of(caller(FIRST[0], end("length")))
    assert [line.message.content for line in lines] == [written, ""]
    assert lines[-1].done_reason == "length"


async def test_calls_and_results_come_back_in_their_order() -> None:
    first = await answer_of(caller(*CALLING, end()))
    engine = caller("ok", end("stop"))
    picture = png_of(Image.new("RGB", (4, 4)))
    results = [
        {"role": "tool", "content": "12:00", "tool_name": "get_time"},
        {"role": "tool", "content": "Sunny.", "images": [picture]},
    ]
    await answer_of(engine, messages=[QUESTION, first.message, *results])
    assert shown(engine) == [
        ("user", "Weather?"),
        ("assistant", "Let me see.", [("call00001", *CALLS[0]), ("call00002", *CALLS[1])]),
        ("tool", "12:00", "call00002"),
        ("tool", "<image>Sunny.", "call00001"),
    ]


async def test_a_result_is_of_the_call_that_it_names() -> None:
    function = {"name": "f", "arguments": {"a": 1}, "index": 0}
    calls = [{"id": name, "type": "function", "function": function} for name in ("one", "two")]
    named = [
        {"role": "tool", "content": "2", "tool_call_id": "two"},
        {"role": "tool"},
        {"role": "tool"},
    ]
    engine = caller("ok", end("stop"))
    body = asked(stream=False)
    body["messages"] = [QUESTION, {"role": "assistant", "tool_calls": calls}, *named]
    async with stack_of(engine) as stack, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(f"{stack.worker}/api/chat", json=body)).status_code == 200
    assert [turn[2] for turn in shown(engine)[2:]] == ["two", "one", "call00001"]


CALL: dict[str, Any] = {"function": {"name": "f", "arguments": {}}}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [TOOL, TOOL]}, "tools.1.function.name"),
        ({"tools": [{"function": {"name": "a b"}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "web", "function": {}}]}, "tools.0.type"),
        ({"messages": [QUESTION | {"tool_name": "f"}]}, "messages.0.tool_name"),
        ({"messages": [QUESTION | {"tool_calls": [CALL]}]}, "messages.0.tool_calls.0"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
                    }
                ]
            },
            "messages.0.tool_calls.0.function.arguments",
        ),
    ],
)
async def test_what_is_wrong_with_a_tool_is_named(fields: dict[str, Any], named: str) -> None:
    engine = caller("ok", end("stop"))
    async with stack_of(engine) as stack, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{stack.worker}/api/chat", json=asked(**fields))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{named}:")


async def test_a_model_that_has_no_tools_refuses_them() -> None:
    with pytest.raises(ollama.ResponseError, match="tools the chat template"):
        await answer_of(ScriptedEngine("ok"))
