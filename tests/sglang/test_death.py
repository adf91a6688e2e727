"""A server may come late, die in mid-answer and come back with another model."""

import asyncio
import shutil
import time
from pathlib import Path

import aiohttp
import openai
import pytest

from llava_serve.tiny import CHECKPOINT
from scripts.tiny.world import simple_image
from tests.ports import free_port
from tests.sglang.conftest import Stack, picture, stack_before, text
from tests.sglang.launched import sglang

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

GONE_S = 3.0
ENDLESS = {"stream": True, "max_tokens": 3000, "extra_body": {"ignore_eos": True}}


async def crash(stack: Stack) -> None:
    """Send the server what our worker never would: a picture without a placeholder."""
    uri = picture(simple_image("circle", "red"))["image_url"]["url"]
    with pytest.raises(aiohttp.ClientError):
        async with stack.http.post(
            f"{stack.endpoint}/generate", json={"text": "hello", "image_data": [uri]}
        ) as answer:
            await answer.read()
            pytest.fail(f"it survives with {answer.status}")


async def test_a_worker_follows_its_server(tmp_path: Path) -> None:
    port = free_port()
    other = tmp_path / "another-model"
    shutil.copytree(CHECKPOINT, other)
    async with stack_before(f"http://127.0.0.1:{port}", tmp_path) as stack:
        assert await stack.models() == []  # the worker was there first
        first = sglang(CHECKPOINT, tmp_path / "log", port=port)
        await asyncio.to_thread(first.__enter__)
        try:
            await stack.serves("llava-tiny")
            await what_needs_no_parser(stack)
            await the_stream_of_a_dying_server_fails(stack)
            died = time.monotonic()
            await stack.serves()
            assert time.monotonic() - died < GONE_S
            with pytest.raises(openai.APIStatusError, match="no live worker"):
                await stack.ask(text("hello"), model="llava-tiny")
        finally:
            await asyncio.to_thread(first.__exit__, None, None, None)
        second = sglang(other, tmp_path / "log", port=port)
        await asyncio.to_thread(second.__enter__)
        try:
            await stack.serves("another-model")
            assert await stack.ask(text("hello"))
        finally:
            await asyncio.to_thread(second.__exit__, None, None, None)


async def what_needs_no_parser(stack: Stack) -> None:
    """Without one the server tells logprobs in another way, and tools are refused."""
    (choice,) = (await stack.complete(text("hello"), logprobs=True)).choices
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    tool = {"type": "function", "function": {"name": "report"}}
    with pytest.raises(openai.BadRequestError, match="--tool-call-parser NAME"):
        await stack.complete(text("hello"), tools=[tool])


async def the_stream_of_a_dying_server_fails(stack: Stack) -> None:
    stream = await stack.complete(text("hello"), **ENDLESS)
    async for _ in stream:
        break
    crashing = asyncio.create_task(crash(stack))
    with pytest.raises(openai.APIError) as lost:
        async for _ in stream:
            pass
    await crashing
    assert lost.value.code == "sglang_lost"
