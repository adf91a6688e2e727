"""Functions of OpenAI's Responses, as the `openai` client asks for calls and gives results."""

from typing import Any

import openai
import pytest
from openai.types.responses import Response
from PIL import Image

from llava_serve.storage.kept_responses import KeptResponses
from llava_serve.tools import ToolChoice
from tests.adapters.conftest import stack_of
from tests.adapters.test_responses import client_of, image_part
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

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": WEATHER.description,
    "parameters": SCHEMA,
    "strict": False,
}
CALLS = [("abcdefghi", "get_weather", {"city": "Kyoto"}), ("ihgfedcba", "get_time", {})]
OUTPUTS: list[Any] = [
    {"type": "function_call_output", "call_id": "abcdefghi", "output": "Sunny."},
    {
        "type": "function_call_output",
        "call_id": "ihgfedcba",
        "output": [{"type": "input_text", "text": "see "}, image_part(Image.new("RGB", (4, 4)))],
    },
]
ANSWERED = [
    ("user", "Weather?"),
    ("assistant", "Let me see.", CALLS),
    ("tool", "Sunny.", "abcdefghi"),
    ("tool", "see <image>", "ihgfedcba"),
]


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "scripted", "input": "Weather?", "tools": [TOOL]} | fields


async def answer_of(engine: ScriptedEngine, **fields: Any) -> Response:
    async with stack_of(engine) as stack, client_of(stack.worker) as client:
        response: Response = await client.responses.create(**asked(**fields))
        return response


async def events_of(engine: ScriptedEngine) -> list[Any]:
    async with stack_of(engine) as stack, client_of(stack.controller) as client:
        return [event async for event in await client.responses.create(**asked(), stream=True)]


def told(response: Response) -> dict[str, Any]:
    """Return a response without its ids, and without what the time decides."""
    told = response.to_dict(exclude_unset=False)
    items: Any = told["output"]
    left_out = ("id", "created_at", "output")
    items = [{name: item[name] for name in item if name != "id"} for item in items]
    return {name: told[name] for name in told if name not in left_out} | {"items": items}


async def test_calls_are_items_of_the_output() -> None:
    engine = caller(*CALLING, end())
    answer = await answer_of(engine)
    Response.model_validate(answer.to_dict(), strict=True)
    assert answer.status == "completed"
    message, first, second = (item.to_dict() for item in answer.output)
    assert message["status"] == "completed"
    assert first == {
        "type": "function_call",
        "id": first["id"],
        "call_id": "abcdefghi",
        "name": "get_weather",
        "arguments": '{"city": "Kyoto"}',
        "status": "completed",
    }
    assert (second["call_id"], second["arguments"]) == ("ihgfedcba", "{}")
    assert len({message["id"], first["id"], second["id"]}) == 3
    assert tools_of(engine) == (WEATHER,)


async def test_a_response_repeats_its_tools() -> None:
    choice = {"type": "function", "name": "get_weather"}
    engine = caller(*FIRST, end())
    answer = await answer_of(engine, tool_choice=choice, parallel_tool_calls=False)
    repeated = answer.to_dict()
    assert repeated["tools"] == [TOOL]
    assert (repeated["tool_choice"], repeated["parallel_tool_calls"]) == (choice, False)
    meant = ToolChoice(is_required=True, name="get_weather", is_parallel=False)
    assert engine.asked[0].sampling.tool_choice == meant
    unsaid = (await answer_of(caller("ok", end("stop")))).to_dict()
    assert (unsaid["tool_choice"], unsaid["parallel_tool_calls"]) == ("auto", True)


async def test_events_open_and_close_one_item_after_the_other() -> None:
    behind: Any = (*CALLING, " So.", end())
    events = await events_of(caller(*behind))
    kinds = [event.type.removeprefix("response.") for event in events]
    message = ("output_item.added", "content_part.added", "output_text.delta", "output_text.done")
    of_message = [*message, "content_part.done", "output_item.done"]
    delta, done = "function_call_arguments.delta", "function_call_arguments.done"
    assert kinds == [
        *("created", "in_progress"),
        *of_message,
        *("output_item.added", delta, delta, done, "output_item.done"),
        *("output_item.added", delta, done, "output_item.done"),
        *of_message,
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    places = [event.output_index for event in events if hasattr(event, "output_index")]
    assert places == sorted(places)
    assert places[-1] == 3
    added = [event.item for event in events if event.type == "response.output_item.added"]
    ended = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.id for item in added] == [item.id for item in ended]
    assert (added[1].arguments, added[1].status) == ("", "in_progress")
    assert ended == events[-1].response.output


async def test_events_joined_are_the_whole_response() -> None:
    last = (await events_of(caller(*CALLING, end())))[-1].response
    assert told(last) == told(await answer_of(caller(*CALLING, end())))
    alone = (await events_of(caller(*FIRST, end())))[-1].response
    assert told(alone) == told(await answer_of(caller(*FIRST, end())))
    assert [item.type for item in alone.output] == ["function_call"]


async def test_a_call_that_was_cut_off_is_incomplete() -> None:
    whole = await answer_of(caller("Let me see.", FIRST[0], end("length")))
    last = (await events_of(caller("Let me see.", FIRST[0], end("length"))))[-1].response
    assert told(whole) == told(last)
    assert whole.status == "incomplete"
    assert [item.to_dict()["status"] for item in whole.output] == ["completed", "incomplete"]
    engine = caller("ok", end("stop"))
    said = [{"role": "user", "content": "Weather?"}, *(item.to_dict() for item in whole.output)]
    await answer_of(engine, input=[*said, {"role": "user", "content": "Go on."}])
    expected = [("user", "Weather?"), ("assistant", "Let me see."), ("user", "Go on.")]
    assert shown(engine) == expected


async def test_a_whole_call_of_an_answer_that_was_cut_off_is_complete() -> None:
    whole = await answer_of(caller(*CALLING, end("length")))
    assert [item.to_dict()["status"] for item in whole.output] == ["completed"] * 3


async def test_calls_and_outputs_come_back() -> None:
    first = await answer_of(caller(*CALLING, end()))
    engine = caller("ok", end("stop"))
    said = [{"role": "user", "content": "Weather?"}, *(item.to_dict() for item in first.output)]
    await answer_of(engine, input=said + OUTPUTS)
    assert shown(engine) == ANSWERED


async def test_a_kept_response_goes_on_with_its_calls(kept: KeptResponses) -> None:
    engine = caller(*CALLING, end())
    async with stack_of(engine, responses=kept) as stack, client_of(stack.controller) as client:
        first = await client.responses.create(**asked())
        await client.responses.create(**asked(input=OUTPUTS, previous_response_id=first.id))
        assert shown(engine) == ANSWERED
        references = [{"type": "item_reference", "id": item.id} for item in first.output]
        said = [{"role": "user", "content": "Weather?"}, *references, *OUTPUTS]
        await client.responses.create(**asked(input=said))
        assert shown(engine) == ANSWERED
        for wrong in (first.output[0].id + "7", "fc_1", "other"):
            reference = {"type": "item_reference", "id": wrong}
            with pytest.raises(openai.NotFoundError, match=wrong):
                await client.responses.create(**asked(input=[reference]))


CALL = {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"}
FLAT = {"name": "f", "type": "function"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [TOOL, TOOL]}, "tools.1.name"),
        ({"tools": [FLAT | {"parameters": 1}]}, "tools.0.parameters"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [FLAT | {"output_schema": {}}]}, "tools.0.output_schema"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "other"}}, "tool_choice"),
        ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ({"input": [CALL | {"arguments": "{"}]}, "input.0.arguments"),
        ({"input": [CALL | {"name": "a b"}]}, "input.0.name"),
    ],
)
async def test_what_is_wrong_with_a_function_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(openai.BadRequestError) as failed:
        await answer_of(caller("ok", end("stop")), **fields)
    assert failed.value.param == named
    assert named in failed.value.message


async def test_a_model_that_has_no_tools_says_so_of_calls() -> None:
    said = [{"role": "user", "content": "Weather?"}, CALL, OUTPUTS[0]]
    with pytest.raises(openai.BadRequestError) as failed:
        await answer_of(ScriptedEngine("ok"), tools=[], input=said)
    assert failed.value.param == "input.1"
