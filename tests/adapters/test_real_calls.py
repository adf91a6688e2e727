"""A checkpoint whose chat template has tools calls those of clients of other protocols."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llava_serve.config import ModelConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.build import build_engine
from scripts.tiny.world import simple_image
from tests.adapters.conftest import stack_of
from tests.adapters.test_messages import client_of, image_block
from tests.adapters.test_responses import client_of as responses_client_of, image_part
from tests.checkpoints.tool_checkpoint import tool_checkpoint

pytestmark = pytest.mark.slow

CITIES = {
    "type": "object",
    "properties": {"city": {"enum": ["Kyoto", "Bonn"]}},
    "required": ["city"],
    "additionalProperties": False,
}
CHOICES = ({"city": "Kyoto"}, {"city": "Bonn"})
QUESTION: Any = {"role": "user", "content": "What is the weather?"}


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tool_checkpoint(tmp_path_factory.mktemp("calling") / "tools")
    engine = build_engine(ModelConfig(model_path=str(folder), model_name="tools"), slots=2)
    yield engine
    engine.close()


async def test_a_call_of_messages_and_its_result_are_counted_as_they_are_used(
    calling: Engine,
) -> None:
    tools: Any = [{"name": "get_weather", "input_schema": CITIES}]
    asked: Any = {"model": "tools", "max_tokens": 200, "tools": tools}
    only: Any = {"type": "any", "disable_parallel_tool_use": True}
    async with stack_of(calling) as stack, client_of(stack.worker) as client:
        called = await client.messages.create(**asked, messages=[QUESTION], tool_choice=only)
        (call,) = called.content
        assert call.type == called.stop_reason == "tool_use"
        assert call.input in CHOICES
        shown = [{"type": "text", "text": "See:"}, image_block(simple_image("circle", "red"))]
        result = {"type": "tool_result", "tool_use_id": call.id, "content": shown}
        messages: Any = [
            QUESTION,
            {"role": "assistant", "content": called.content},
            {"role": "user", "content": [result]},
        ]
        usage = (await client.messages.create(**asked, messages=messages)).usage
        used = usage.input_tokens + (usage.cache_read_input_tokens or 0)
        counted = await client.messages.count_tokens(model="tools", messages=messages, tools=tools)
        assert counted.input_tokens == used > 100


async def test_a_call_of_responses_is_answered(calling: Engine) -> None:
    function = {"type": "function", "name": "get_weather", "parameters": CITIES, "strict": True}
    asked: Any = {"model": "tools", "max_output_tokens": 200, "tools": [function]}
    named: Any = {"type": "function", "name": "get_weather"}
    question: Any = [QUESTION]
    async with stack_of(calling) as stack, responses_client_of(stack.worker) as client:
        called = await client.responses.create(
            **asked, input=question, tool_choice=named, parallel_tool_calls=False
        )
        (call,) = called.output
        assert call.type == "function_call"
        assert json.loads(call.arguments) in CHOICES
        shown = [image_part(simple_image("circle", "red"))]
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": shown}
        said: Any = [QUESTION, call.to_dict(), output]
        after = await client.responses.create(**asked, input=said, tool_choice="none")
        assert after.output_text
