"""The checkpoint that ships answers the clients of other protocols about a real picture."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from llava_serve.engines.base import Engine
from scripts.tiny.world import simple_image
from tests.adapters.conftest import Stack, stack_of
from tests.adapters.test_messages import client_of, image_block, text_of
from tests.adapters.test_responses import client_of as responses_client_of, image_part

pytestmark = pytest.mark.slow


@pytest.fixture
async def stack(llava_tiny: Engine) -> AsyncIterator[Stack]:
    async with stack_of(llava_tiny) as running:
        yield running


def about(color: str) -> dict[str, Any]:
    content = [
        image_block(simple_image("circle", color)),
        {"type": "text", "text": "What color is the circle?"},
    ]
    messages = [{"role": "user", "content": content}]
    greedy = {"temperature": 0}  # beyond this client's own parameters
    fields = {"model": "llava-tiny", "max_tokens": 60, "extra_body": greedy}
    return fields | {"messages": messages}


@pytest.mark.parametrize("color", ["red", "blue"])
async def test_anthropics_client_is_told_a_color(address: str, color: str) -> None:
    async with client_of(address) as client:
        whole = await client.messages.create(**about(color))
        assert color in text_of(whole)
        texts = []
        async with client.messages.stream(**about(color)) as stream:
            async for text in stream.text_stream:
                texts.append(text)
            last = await stream.get_final_message()
        assert len(texts) > 1
        assert "".join(texts) == text_of(whole) == text_of(last)
        used = last.usage
        assert used.input_tokens + (used.cache_read_input_tokens or 0) > 100
        assert used.output_tokens >= len(texts)


async def test_a_stop_sequence_ends_a_real_answer(address: str) -> None:
    async with client_of(address) as client:
        answer = await client.messages.create(**about("red"), stop_sequences=["red"])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "red")
    assert "red" not in text_of(answer)


async def test_the_tokens_of_a_picture_are_counted_as_they_are_used(address: str) -> None:
    body = about("blue")
    async with client_of(address) as client:
        used = (await client.messages.create(**body)).usage
        count = await client.messages.count_tokens(model=body["model"], messages=body["messages"])
        assert count.input_tokens == used.input_tokens + (used.cache_read_input_tokens or 0)
        body["messages"][0]["content"][1]["text"] = "word " * 100_000
        with pytest.raises(anthropic.BadRequestError, match="the context holds"):
            await client.messages.count_tokens(model=body["model"], messages=body["messages"])


@pytest.mark.parametrize("color", ["red", "blue"])
async def test_openais_responses_tell_a_color(address: str, color: str) -> None:
    content = [
        image_part(simple_image("circle", color)),
        {"type": "input_text", "text": "What color is the circle?"},
    ]
    messages: Any = [{"role": "user", "content": content}]
    async with responses_client_of(address) as client:
        whole = await client.responses.create(model="llava-tiny", temperature=0, input=messages)
        assert color in whole.output_text
        stream = await client.responses.create(
            model="llava-tiny", temperature=0, input=messages, stream=True
        )
        events = [event async for event in stream]
        texts = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert len(texts) > 1
        assert "".join(texts) == whole.output_text
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.usage is not None
        assert last.response.usage.input_tokens > 100
        assert last.response.usage.output_tokens >= len(texts)
