"""Tools of Ollama's protocol: what becomes of them, of calls and of results, each way."""

import json
from typing import Any

import httpx
import ollama
import pytest

from llava_serve.adapters.ollama.request import OllamaChat
from llava_serve.errors import InvalidField
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.protocol.strict import parse_body
from llava_serve.request import Delta, Usage
from llava_serve.tools import ToolCallDelta
from tests.adapters.conftest import stack_of
from tests.adapters.ollama.conftest import HELLO, asked, client_of
from tests.worker.conftest import ScriptedEngine


def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Args:
        city: where
        days: how many
    """
    return f"sun in {city} for {days}"


END = Delta("", "tool_calls", Usage(9, completion_tokens=11))
FIRST = (
    ToolCallDelta(0, "", "call1", "weather"),
    ToolCallDelta(0, '{"city": "Bo'),
    ToolCallDelta(0, 'nn"}'),
)
SECOND = (ToolCallDelta(1, '{"city": "Ulm", "days": 2}', "call2", "weather"),)


def calling(*script: Any) -> ScriptedEngine:
    engine = ScriptedEngine(*script)
    engine.card = engine.card.model_copy(update={"supported_params": ["tools"]})
    return engine


async def test_calls_are_told_whole() -> None:
    deltas = [Delta(tool_calls=(part,)) for part in (*FIRST, *SECOND)]
    fields = asked(model="scripted", tools=[weather])
    engine = calling("I ask. ", *deltas, END)
    async with stack_of(engine) as stack, client_of(stack.controller) as client:
        assert (await client.show("scripted")).capabilities == ["completion", "vision", "tools"]
        whole = await client.chat(**fields)
        lines = [line async for line in await client.chat(**fields, stream=True)]
    assert [line.message.content for line in lines] == ["I ask. ", "", "", ""]
    calls = [line.message.tool_calls for line in lines]
    assert [len(told) if told else 0 for told in calls] == [0, 1, 1, 0]
    for told in (whole.message.tool_calls or (), [*(calls[1] or ()), *(calls[2] or ())]):
        assert [call.function.arguments for call in told] == [
            {"city": "Bonn"},
            {"city": "Ulm", "days": 2},
        ]
        assert {call.function.name for call in told} == {"weather"}
    assert whole.message.content == "I ask. "
    assert [line.done for line in lines] == [False] * 3 + [True]
    last = lines[-1]
    assert whole.done_reason == last.done_reason == "stop"


def tool_body() -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"function": {"name": "weather", "parameters": parameters}}


def test_a_tool_need_not_say_its_type() -> None:
    chat = parse_body(OllamaChat, asked(tools=[tool_body()])).adapted("echo").chat
    (tool,) = parse_chat_request(chat).tools or []
    assert (tool.type, tool.function.name) == ("function", "weather")


async def test_calls_have_ids_and_places() -> None:
    engine = calling(*(Delta(tool_calls=(part,)) for part in (*FIRST, *SECOND)), END)
    body = asked(model="scripted", tools=[tool_body()])
    async with stack_of(engine) as stack, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{stack.worker}/api/chat", json=body)
    said = [json.loads(line)["message"] for line in answer.text.splitlines()]
    calls = [call for message in said for call in message.get("tool_calls", ())]
    told = [(call["id"], call["function"]["index"]) for call in calls]
    assert told == [("call1", 0), ("call2", 1)]


async def test_a_call_that_was_cut_off_is_text() -> None:
    """Nobody may take what is left of its arguments for all of them."""
    cut = Delta("", "length", Usage(9, completion_tokens=11))
    engine = calling(*(Delta(tool_calls=(part,)) for part in FIRST[:2]), cut)
    fields = asked(model="scripted", tools=[weather])
    async with stack_of(engine) as stack, client_of(stack.worker) as client:
        whole = await client.chat(**fields)
        lines = [line async for line in await client.chat(**fields, stream=True)]
    written = '{"name": "weather", "arguments": {"city": "Bo'
    assert whole.message.content == "".join(line.message.content or "" for line in lines) == written
    for last in (whole, lines[-1]):
        assert (last.message.tool_calls, last.done_reason) == (None, "length")


def called(*cities: str, **fields: Any) -> dict[str, Any]:
    calls = [
        {"function": {"name": "weather", "arguments": {"city": city}}, **fields} for city in cities
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(content: str, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **fields}


def ids_of(*messages: dict[str, Any]) -> list[Any]:
    """Return the ids that the native wire gets: of calls, and of what results are of."""
    body = asked(messages=[*HELLO, *messages], tools=[tool_body()])
    chat = parse_chat_request(parse_body(OllamaChat, body).adapted("echo").chat)
    return [
        message.tool_call_id or [call.id for call in message.tool_calls or ()]
        for message in chat.messages[1:]
    ]


def test_results_are_of_calls_in_their_order() -> None:
    first, second, third = ids_of(called("Bonn", "Ulm"), result("sun"), result("rain"))
    assert first == [second, third]
    assert len({second, third}) == 2


def test_a_result_may_say_of_which_call_it_is() -> None:
    other = {"function": {"name": "time", "arguments": {}}}
    two = called("Bonn") | {"tool_calls": [*called("Bonn")["tool_calls"], other]}
    calls, first, second = ids_of(
        two, result("noon", tool_name="time"), result("sun", tool_name="weather")
    )
    assert calls == [second, first]
    named = called("Bonn", id="a")
    assert ids_of(named, result("sun", tool_call_id="a")) == [["a"], "a"]


@pytest.mark.parametrize(
    "messages",
    [
        [result("sun")],
        [called("Bonn"), result("sun"), result("rain")],
        [called("Bonn"), result("noon", tool_name="time")],
        [called("Bonn", id="a"), result("sun", tool_call_id="b")],
    ],
)
def test_a_result_of_no_call_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidField, match="is the result of no call before it") as refusal:
        ids_of(*messages)
    assert refusal.value.param == f"messages.{len(messages)}"


async def test_a_model_without_tools_says_so(client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match=r"^tools "):
        await client.chat(**asked(tools=[weather]))
