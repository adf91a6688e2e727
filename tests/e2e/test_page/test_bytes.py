"""What goes over the network for an answer, counted in a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]

QUESTION = " ".join(f"word{n}" for n in range(40))


@dataclass
class Received:
    """Bytes of bodies and headers that have arrived."""

    bytes: int = 0


@asynccontextmanager
async def counted(tab: Tab) -> AsyncIterator[Received]:
    """Count what arrives while the block runs."""
    received, session = Received(), await tab.page.context.new_cdp_session(tab.page)

    def add(event: dict[str, int]) -> None:
        received.bytes += event["encodedDataLength"]

    def add_headers(event: dict[str, dict[str, int]]) -> None:
        received.bytes += event["response"]["encodedDataLength"]

    session.on("Network.dataReceived", add)
    session.on("Network.responseReceived", add_headers)
    await session.send("Network.enable")
    yield received
    await session.detach()


async def test_an_answer_costs_what_is_new_of_it_in_the_thirtieth_turn_too(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo", delay_s=0.02)
    costs = []
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        for turn in range(1, 31):
            async with counted(tab) as received:
                await tab.ask(QUESTION)
                await tab.answered(turn)
            costs.append(received.bytes)
    # With what the page asks for every two seconds, which a slow machine has more of.
    assert max(costs) < 20_000
