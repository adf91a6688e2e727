"""A real SGLang server with a tool-call parser calls tools, and survives whatever they say.

The tiny model makes no sense of tools: a penalty leads it out of the space between two words.
"""

import json
from typing import Any

import openai
import pytest

from scripts.tiny.world import simple_image
from tests.sglang.conftest import Stack, picture, text, user

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

QUESTION = user(picture(simple_image("circle", "red")), text("What color is the circle?"))
CALLING: dict[str, Any] = {"frequency_penalty": 2, "max_tokens": 250}


def tool(name: str, description: str = "Report it.") -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"color": {"enum": ["red", "blue"]}},
        "required": ["color"],
    }
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


async def test_a_call_comes_back_and_its_result_goes_on(stack: Stack) -> None:
    asked: dict[str, Any] = {"messages": QUESTION, "tools": [tool("report")]}
    fields = {"tool_choice": "required", "parallel_tool_calls": False}
    (choice,) = (await stack.complete(**asked, **CALLING, **fields)).choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "report")
    assert json.loads(call.function.arguments)["color"] in ("red", "blue")
    result = {"role": "tool", "tool_call_id": call.id, "content": "thanks"}
    said = choice.message.model_dump(exclude_none=True)
    answer = await stack.complete(**asked | {"messages": [*QUESTION, said, result]})
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")


async def test_the_tool_that_is_named_is_called_piece_by_piece(stack: Stack) -> None:
    named = {"type": "function", "function": {"name": "tell"}}
    stream = await stack.complete(
        messages=QUESTION,
        tools=[tool("report"), tool("tell")],
        tool_choice=named,
        stream=True,
        **CALLING,
    )
    choices = [chunk.choices[0] async for chunk in stream if chunk.choices]
    first, *others = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert (first.index, first.function.name) == (0, "tell")
    assert first.id
    assert all(each.id is None for each in others if each.index == 0)
    arguments = [each.function.arguments for each in (first, *others) if each.index == 0]
    assert json.loads("".join(arguments))["color"] in ("red", "blue")
    assert choices[-1].finish_reason == "tool_calls"


async def test_tools_that_are_not_called_leave_an_answer_that_ends_as_others_do(
    stack: Stack,
) -> None:
    asked: dict[str, Any] = {"messages": user(text("Hello, what are you?"))}
    whole = await stack.complete(**asked, tools=[tool("report")], stop=["never said"])
    (choice,) = whole.choices
    assert (choice.message.tool_calls, choice.finish_reason) == (None, "stop")
    said = choice.message.content
    assert said
    assert "<|im_end|>" not in said
    stop = said[len(said) // 2 :][:4]
    cut = await stack.complete(**asked, tools=[tool("report")], stop=[stop])
    assert cut.choices[0].message.content == said[: said.index(stop)]
    without = await stack.complete(**asked, tools=[tool("report")], tool_choice="none")
    assert without.usage.prompt_tokens < whole.usage.prompt_tokens - 50


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [tool("report", "an <image>")]}, "tools"),
        ({"tools": [tool("report")], "logprobs": True}, "logprobs"),
        ({"tools": [tool("report")], "extra_body": {"regex": "a"}}, "regex"),
    ],
)
async def test_what_the_server_would_get_wrong_is_refused_by_name(
    stack: Stack, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await stack.complete(messages=QUESTION, **fields)
    assert refused.value.param == param
