"""A real SGLang server goes on with a text as if it had written it itself."""

from typing import Any

import pytest

from scripts.tiny.world import simple_image
from tests.sglang.conftest import Stack, picture, text, user

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

QUESTION = user(picture(simple_image("circle", "red")), text("Describe the picture."))


def begun(said: str) -> list[Any]:
    return [*QUESTION, {"role": "assistant", "content": said}]


async def test_the_rest_is_the_rest_of_the_same_answer(stack: Stack) -> None:
    whole = (await stack.complete(messages=QUESTION)).choices[0].message.content
    fields = {"extra_body": {"continue_final_message": True}}
    words = whole.split(" ")
    assert len(words) > 3
    for cut in range(1, len(words)):
        said = " ".join(words[:cut])
        answer = await stack.complete(messages=begun(said), **fields)
        assert said + answer.choices[0].message.content == whole


async def test_the_deltas_hold_new_text_only_and_usage_counts_the_text_as_prompt(
    stack: Stack,
) -> None:
    asked = await stack.complete(messages=QUESTION)
    said = asked.choices[0].message.content[:5]
    answer = await stack.complete(messages=begun(said), extra_body={"continue_final_message": True})
    assert said + answer.choices[0].message.content == asked.choices[0].message.content
    assert answer.usage.prompt_tokens > asked.usage.prompt_tokens
