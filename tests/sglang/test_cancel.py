"""A client that leaves stops the work inside the SGLang server, by the server's own count."""

import asyncio
import time

import pytest

from tests.sglang.conftest import Stack, text

pytestmark = [pytest.mark.slow, pytest.mark.sglang]

ENDLESS = {"stream": True, "max_tokens": 3000, "extra_body": {"ignore_eos": True}}
SOON_S = 2.0


async def idle_after(stack: Stack) -> float:
    begun = time.monotonic()
    while await stack.running():
        assert time.monotonic() - begun < 30, "the server still works for nobody"
    return time.monotonic() - begun


async def test_leaving_in_mid_answer_stops_it(stack: Stack) -> None:
    stream = await stack.complete(text("hello"), **ENDLESS)
    async for _ in stream:
        break
    assert await stack.running() == 1
    await stream.close()
    assert await idle_after(stack) < SOON_S


async def test_twenty_clients_that_leave_at_different_times_leave_nothing(stack: Stack) -> None:
    async def ask_and_leave(wait_s: float) -> None:
        async def read() -> None:
            async for _ in await stack.complete(text("hello"), **ENDLESS):
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), wait_s)

    await asyncio.gather(*(ask_and_leave(i / 20) for i in range(20)))
    assert await idle_after(stack) < SOON_S
    assert await stack.ask(text("hello"))  # and it still answers
