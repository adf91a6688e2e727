"""The Chromium that the tests share: it is started again after a crash."""

import asyncio

import pytest
from playwright.async_api import Error as PlaywrightError

from tests.chromium import KeptChromium
from tests.until import bounded

pytestmark = pytest.mark.slow


async def test_a_chromium_that_crashed_is_started_again(kept_chromium: KeptChromium) -> None:
    crashed, gone = await kept_chromium.running(), asyncio.Event()
    crashed.on("disconnected", lambda _: gone.set())
    session = await crashed.new_browser_cdp_session()
    with pytest.raises(PlaywrightError):
        await session.send("Browser.crash")
    async with bounded("the end of the Chromium"):
        await gone.wait()
    started = await kept_chromium.running()
    page = await started.new_page()
    assert await page.evaluate("6 * 7") == 42
    await page.context.close()
    assert await kept_chromium.running() is started
