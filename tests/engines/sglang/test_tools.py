"""Tools reach an SGLang server in its words, and calls come back as they were made."""

from dataclasses import replace
from typing import Any

import anyio
import pytest

from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.deltas import of_chat
from llava_serve.engines.sglang.placeholders import TemplateCheck, check_texts
from llava_serve.engines.sglang.server import Server
from llava_serve.engines.sglang.tools import check_beside_tools
from llava_serve.errors import InvalidField, SglangFailed, UnsupportedField
from llava_serve.request import Conversation, Delta, Message, SamplingParams, Usage
from llava_serve.tools import Tool, ToolCall, ToolCallDelta, ToolChoice
from tests.engines.sglang.conftest import USAGE, Listening, Recorded, chat_event
from tests.engines.sglang.test_deltas import told
from tests.engines.sglang.test_engine import answer, engine_of, request
from tests.engines.sglang.test_payload import RED, SERVED, chat_body_of

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = Tool("weather", PARAMETERS, "The weather.")
TIME = Tool("time", {"type": "object", "properties": {}}, is_strict=True)
CALL = ToolCall("call_of_more_letters", "weather", {"city": "Rome"})
ASKED = Conversation((Message("user", ("What is it?",)),), tools=(WEATHER, TIME))
CALLED = Conversation(
    (
        *ASKED.messages,
        Message("assistant", ("",), (CALL,)),
        Message("tool", ("sunny",), tool_call_id=CALL.id),
    ),
    tools=ASKED.tools,
)
USED = Usage(9, 2, image_tokens=5, cached_tokens=4)


def shown(name: str, description: str, parameters: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def test_tools_that_may_be_called_are_shown_with_their_schemas() -> None:
    body = chat_body_of(ASKED, SamplingParams())
    weather, time = body["tools"]
    assert weather == shown("weather", "The weather.", PARAMETERS)
    assert time["function"]["strict"] is True
    assert body["tool_choice"] == "auto"
    assert "parallel_tool_calls" not in body


def test_a_choice_is_passed_on_and_the_tool_it_names_stands_alone() -> None:
    choice = ToolChoice(is_required=True, is_parallel=False)
    body = chat_body_of(ASKED, SamplingParams(tool_choice=choice))
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert [tool["function"]["strict"] for tool in body["tools"]] == [True, True]
    choice = ToolChoice(is_required=True, name="time")
    body = chat_body_of(ASKED, SamplingParams(tool_choice=choice))
    assert body["tool_choice"]["function"] == {"name": "time"}
    assert [tool["function"]["name"] for tool in body["tools"]] == ["time"]


def test_arguments_that_are_bound_are_an_object() -> None:
    said = Conversation(ASKED.messages, tools=(Tool("any", {}, is_strict=True),))
    (tool,) = chat_body_of(said, SamplingParams())["tools"]
    assert tool["function"]["parameters"] == {"type": "object"}


def test_the_token_that_ends_an_answer_is_no_text_of_it() -> None:
    assert chat_body_of(ASKED, SamplingParams(stop=("x",)))["no_stop_trim"] is False
    without = Conversation(ASKED.messages)
    assert chat_body_of(without, SamplingParams(stop=("x",)))["no_stop_trim"] is True


def test_calls_and_results_go_back_as_templates_take_them() -> None:
    _, said, result = chat_body_of(CALLED, SamplingParams())["messages"]
    (call,) = said["tool_calls"]
    assert (said["content"], call["function"]) == (
        None,
        {"name": "weather", "arguments": {"city": "Rome"}},
    )
    assert (result["role"], result["tool_call_id"], result["name"]) == (
        "tool",
        call["id"],
        "weather",
    )
    assert result["content"] == [{"type": "text", "text": "sunny"}]


@pytest.mark.parametrize(
    ("field", "sampling"),
    [
        ("logprobs", SamplingParams(top_logprobs=0)),
        ("response_format", SamplingParams(json_schema="{}")),
        ("regex", SamplingParams(regex="a")),
    ],
)
def test_what_the_server_would_get_wrong_beside_tools_is_refused(
    field: str, sampling: SamplingParams
) -> None:
    with pytest.raises(UnsupportedField) as refused:
        check_beside_tools(ASKED, sampling)
    assert refused.value.param == field
    check_beside_tools(Conversation(ASKED.messages), sampling)


@pytest.mark.parametrize(
    ("field", "conversation"),
    [
        ("tools", Conversation(ASKED.messages, tools=(Tool("a", {}, "an <image>"),))),
        ("tools", Conversation(ASKED.messages, tools=(Tool("a", {"x": {"<video>": 1}}),))),
        (
            "messages",
            Conversation((Message("assistant", (), (ToolCall("1", "a", {"b": ["<image>"]}),)),)),
        ),
        ("messages", Conversation((Message("tool", ("<image>",), tool_call_id="1"),))),
    ],
)
def test_no_text_of_tools_passes_for_a_picture(field: str, conversation: Conversation) -> None:
    with pytest.raises(InvalidField) as refused:
        check_texts(conversation)
    assert refused.value.param == field


async def test_the_template_is_asked_with_tools_and_calls_and_never_told_what_they_say(
    recorded: Recorded, listening: Listening
) -> None:
    about_picture = Conversation(
        (Message("user", (RED, "secret")), *CALLED.messages[1:]), tools=CALLED.tools
    )
    async with listening(recorded) as endpoint:
        client = SglangClient(endpoint)
        async with client.opened():
            await TemplateCheck(client).check(about_picture, replace(SERVED, address=endpoint))
    (asked,) = recorded.tokenized
    assert len(asked["tools"]) == 1
    _, said, result = asked["messages"]
    assert result["tool_call_id"] == said["tool_calls"][0]["id"]
    assert not any(word in str(asked) for word in ("secret", "sunny", "Rome", "weather"))


def call_event(index: int, arguments: str = "", **named: str) -> dict[str, Any]:
    function = {"name": named.get("name"), "arguments": arguments}
    call = {"id": named.get("id"), "index": index, "type": "function", "function": function}
    return chat_event(delta={"tool_calls": [call]})


CALLS = [
    chat_event(delta={"content": "Let me see"}),
    call_event(4, id="a", name="weather"),
    call_event(4, '{"city": '),
    call_event(4, '"Rome"}'),
    call_event(4, "{}", id="b", name="weather"),
    chat_event(finish_reason="tool_calls", matched_stop=2),
    {"choices": [], "usage": USAGE},
]


@pytest.mark.parametrize("is_parallel", [True, False])
async def test_calls_are_numbered_as_they_come_and_only_the_first_where_one_is_asked_for(
    is_parallel: bool,
) -> None:
    deltas = [delta async for delta in of_chat(told(CALLS), ("see it",), is_parallel)]
    calls = [call for delta in deltas for call in delta.tool_calls]
    assert calls == [
        ToolCallDelta(0, "", "a", "weather"),
        ToolCallDelta(0, '{"city": '),
        ToolCallDelta(0, '"Rome"}'),
        *([ToolCallDelta(1, "{}", "b", "weather")] if is_parallel else []),
    ]
    assert [(delta.text, len(delta.tool_calls)) for delta in deltas[:2]] == [
        ("Let me ", 0),
        ("see", 1),  # it was no stop string
    ]
    assert deltas[-1] == Delta("", "tool_calls", USED)


async def test_a_stop_string_that_the_server_cut_off_does_not_show_in_part() -> None:
    events = [
        chat_event(delta={"content": "a red sta"}),
        chat_event(finish_reason="stop", matched_stop="star"),
        CALLS[-1],
    ]
    deltas = [delta async for delta in of_chat(told(events), ("stay", "star", "red stars"))]
    assert "".join(delta.text for delta in deltas) == "a red "
    assert deltas[-1] == Delta("", "stop", USED, stop="star")


async def test_arguments_of_no_call_are_no_answer() -> None:
    with pytest.raises(SglangFailed, match="cannot be read"):
        [delta async for delta in of_chat(told([call_event(0, "{}")]))]


async def test_a_request_with_tools_is_passed_on_and_its_calls_come_back(
    recorded: Recorded, listening: Listening
) -> None:
    recorded.settings["tool_call_parser"] = "hermes"
    recorded.events = CALLS
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        assert "tools" in engine.card.supported_params
        deltas = [delta async for delta in engine.stream(request(ASKED))]
    assert deltas[-1].finish_reason == "tool_calls"
    assert [tool["function"]["name"] for tool in recorded.asked[0]["tools"]] == ["weather", "time"]


async def test_a_server_without_a_parser_calls_none(
    recorded: Recorded, listening: Listening
) -> None:
    async with listening(recorded) as endpoint, engine_of(endpoint) as engine:
        assert "tools" not in engine.card.supported_params
        assert await answer(engine, request()) == "It is red."
    assert not {"tools", "tool_choice"} & {*recorded.asked[0]}


async def test_a_template_of_ours_shows_no_tools(recorded: Recorded, listening: Listening) -> None:
    recorded.settings["tool_call_parser"] = "hermes"
    async with listening(recorded) as endpoint:
        server = Server(SglangClient(endpoint), uses_template=False, look_every_s=0.01)
        with anyio.fail_after(20):
            async with server.watched():
                card = await server.change(None)
    assert card is not None
    assert "tools" not in card.supported_params
