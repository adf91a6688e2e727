"""The clients of npm get along with a controller and with a worker, about a real picture."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llava_serve.engines.base import Engine
from scripts.tiny.world import simple_image
from tests.adapters.conftest import Stack, png_of, stack_of
from tests.clients.node import run_node
from tests.until import until

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
RED_CIRCLE = png_of(simple_image("circle", "red"))


@pytest.fixture
async def stack(llava_tiny: Engine) -> AsyncIterator[Stack]:
    async with stack_of(llava_tiny) as running:
        yield running


async def test_anthropics_client(address: str, stack: Stack) -> None:
    told = await run_node(HERE / "messages.mjs", address, "llava-tiny", RED_CIRCLE)
    text = told["whole"]["content"][0]["text"]
    assert "red" in text
    assert len(told["texts"]) > 1
    assert "".join(told["texts"]) == told["final"]["content"][0]["text"] == text
    assert (told["stopped"]["stop_reason"], told["stopped"]["stop_sequence"]) == (
        "stop_sequence",
        "red",
    )
    usage = told["final"]["usage"]
    assert told["counted"]["input_tokens"] == (
        usage["input_tokens"] + usage["cache_read_input_tokens"]
    )
    assert told["left"]["name"] == "APIUserAbortError"
    assert told["unknown"]["name"] == "NotFoundError"
    assert "Ask GET /v1/models for the names" in told["unknown"]["message"]
    assert told["refused"]["name"] == told["overflow"]["name"] == "BadRequestError"
    assert "or ask for fewer tokens" in told["overflow"]["message"]
    await until(lambda: stack.gate.load.queue_length == 0, "the worker at rest")


async def test_openais_client_and_the_ai_sdk(address: str, stack: Stack) -> None:
    told = await run_node(HERE / "responses.mjs", address, "llava-tiny", RED_CIRCLE)
    assert "red" in told["whole"]
    assert len(told["texts"]) > 1
    assert "".join(told["texts"]) == told["final"] == told["whole"]
    assert told["last"]["type"] == "response.completed"
    assert told["last"]["response"]["usage"]["input_tokens"] > 100
    assert "red" in told["generated"]["text"]
    assert told["generated"]["reason"] == "stop"
    assert told["generated"]["usage"]["inputTokens"] > 100
    assert "".join(told["sdkTexts"]) == told["whole"]
    assert len(told["sdkTexts"]) > 1
    assert told["unknown"]["name"] == "NotFoundError"
    assert "Ask GET /v1/models for the names" in told["unknown"]["message"]
    assert told["refused"]["name"] == told["overflow"]["name"] == "BadRequestError"
    assert "or ask for fewer tokens" in told["overflow"]["message"]
    assert "Ask GET /v1/models for the names" in told["sdkUnknown"]["message"]
    await until(lambda: stack.gate.load.queue_length == 0, "the worker at rest")
