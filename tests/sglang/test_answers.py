"""Through SGLang the model sees what it is shown, and does what the request asks for."""

import asyncio
import json
import re
from random import Random
from typing import Any

import openai
import pytest

from scripts.tiny.world import SHAPES, simple_image
from tests.sglang.conftest import Stack, encoded, picture, text, user

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

RED_CIRCLE = picture(simple_image("circle", "red"))
COLOR = text("What color is the circle?")


@pytest.mark.parametrize("color", ["red", "blue", "green", "orange", "purple", "black"])
async def test_the_color_of_a_fresh_picture_streams_in_with_usage(stack: Stack, color: str) -> None:
    rng = Random(color)
    shape = rng.choice(SHAPES)
    shown = simple_image(shape, color, size=(rng.randint(96, 800), rng.randint(96, 800)))
    stream = await stack.complete(
        picture(shown),
        text(f"What color is the {shape}?"),
        stream=True,
        stream_options={"include_usage": True},
    )
    deltas, usage = [], None
    async for chunk in stream:
        deltas += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage or usage
    assert color in "".join(deltas)
    assert "".join(deltas).count(color) == 1  # each delta is new text only
    assert len(deltas) > 1
    assert usage is not None
    assert usage.completion_tokens >= len(deltas)
    assert usage.prompt_tokens > usage.prompt_tokens_details.image_tokens > 100


async def test_the_usage_so_far_grows_with_the_text(stack: Stack) -> None:
    options = {"continuous_usage_stats": True}
    stream = await stack.complete(RED_CIRCLE, COLOR, stream=True, stream_options=options)
    counts = [chunk.usage.completion_tokens async for chunk in stream if chunk.choices]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] >= len(set(counts)) - 1 > 1


async def test_two_pictures_are_seen_in_their_order(stack: Stack) -> None:
    images = [picture(simple_image("circle", color)) for color in ("red", "blue")]
    of_first = await stack.ask(*images, text("Which picture has a red circle?"))
    of_second = await stack.ask(*images, text("Which picture has a blue circle?"))
    # SGLang shows each in two tiles, which this model takes for pictures: the README says so.
    assert (of_first, of_second) == ("The first picture.", "The third picture.")


async def test_a_second_question_is_about_the_same_picture(stack: Stack) -> None:
    messages = user(picture(simple_image("star", "purple")), text("What shape is it?"))
    messages += [
        {"role": "assistant", "content": "It is a star."},
        {"role": "user", "content": "What color is the star?"},
    ]
    assert "purple" in await stack.ask(messages=messages)


async def test_llavas_own_wire_takes_a_ready_prompt(stack: Stack) -> None:
    prompt = "<|im_start|>user\n<image>\nWhat color is it?<|im_end|>\n<|im_start|>assistant\n"
    chunk = await stack.old_wire(prompt, [encoded(simple_image("star", "green"))])
    answer = json.loads(chunk)
    assert answer["error_code"] == 0
    assert answer["text"].startswith(prompt)
    assert answer["text"].count("green") == 1


async def test_what_a_request_leaves_out_is_the_checkpoints_choice(stack: Stack) -> None:
    fields = {"temperature": openai.omit, "max_tokens": openai.omit}
    answers = {await stack.ask(RED_CIRCLE, COLOR, **fields) for _ in range(3)}
    assert answers == {"The circle is red."}


@pytest.mark.parametrize(
    ("fields", "answer", "reason"),
    [
        ({"stop": ["e is r"]}, "The circl", "stop"),
        ({"max_tokens": 2}, "The circle", "length"),
        ({"extra_body": {"regex": "(yes|no)!"}}, re.compile("(yes|no)!"), "stop"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"enum": ["red", "blue"]}},
                }
            },
            re.compile('"(red|blue)"'),
            "stop",
        ),
        ({"seed": 3, "presence_penalty": 0.1, "frequency_penalty": 0.1}, re.compile(".+"), "stop"),
    ],
    ids=["stop", "max_tokens", "regex", "schema", "penalties"],
)
async def test_a_request_gets_what_it_asks_for(
    stack: Stack, fields: dict[str, Any], answer: str | re.Pattern[str], reason: str
) -> None:
    (choice,) = (await stack.complete(RED_CIRCLE, COLOR, **fields)).choices
    if isinstance(answer, str):
        assert choice.message.content == answer
    else:
        assert answer.fullmatch(choice.message.content)
    assert choice.finish_reason == reason


async def test_logprobs_are_those_of_the_tokens_in_the_answer(stack: Stack) -> None:
    completion = await stack.complete(RED_CIRCLE, COLOR, logprobs=True, top_logprobs=2)
    logprobs = completion.choices[0].logprobs.content
    assert "".join(one.token for one in logprobs).startswith("The circle is red.")
    assert all(one.logprob == one.top_logprobs[0].logprob for one in logprobs)  # it was greedy
    assert all(len(one.top_logprobs) == 2 for one in logprobs)


async def test_several_answers_are_made_at_once(stack: Stack) -> None:
    completion = await stack.complete(RED_CIRCLE, COLOR, n=3)
    assert [choice.message.content for choice in completion.choices] == ["The circle is red."] * 3
    assert completion.usage.completion_tokens == 18


async def test_twenty_four_clients_at_once_are_all_answered(stack: Stack) -> None:
    colors = ["red", "blue", "green", "orange", "purple", "black"] * 4
    asked = [
        stack.ask(picture(simple_image("circle", color, size=(120 + i, 200))), COLOR)
        for i, color in enumerate(colors)
    ]
    answers = await asyncio.gather(*asked)
    assert [color in answer for color, answer in zip(colors, answers, strict=True)] == [True] * 24
    assert await stack.running() == 0
