"""The Chromium that the tests share: it forgets each tab, and is started again after a crash."""

import asyncio

import pytest
from playwright.async_api import Browser, Error as PlaywrightError

from tests.chromium import KeptChromium, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack
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


LEAVE = """
async () => {
  [localStorage.left, sessionStorage.left, document.cookie] = ['a', 'b', 'left=c'];
  await caches.open('left');
  await new Promise((opened) => { indexedDB.open('left').onsuccess = opened; });
}
"""
FIND = """
async () => [
  localStorage.left, sessionStorage.left, document.cookie, await caches.keys(),
  (await indexedDB.databases()).map((one) => one.name), window.opener, innerWidth,
  (await navigator.permissions.query({name: 'camera'})).state,
]
"""
NOTHING: list[object] = [None, None, "", [], [], None]


@GRADIO_AND_PANDAS
async def test_a_tab_finds_nothing_of_the_one_before_or_beside(
    browser: Browser, stack: Stack
) -> None:
    url = f"{stack.page}/health"
    async with opened(browser, url) as one:
        await one.page.context.grant_permissions(["camera"])
        await one.page.evaluate(LEAVE)
        assert await one.page.evaluate(FIND) == [
            "a",
            "b",
            "left=c",
            ["left"],
            ["left"],
            None,
            1280,
            "granted",
        ]
        async with opened(browser, url, (390, 844)) as beside:
            assert await beside.page.evaluate(FIND) == [*NOTHING, 390, "prompt"]
        again = await one.another()
        await again.page.goto(url)
        assert (await again.page.evaluate(FIND))[:3] == ["a", None, "left=c"]
    async with opened(browser, url, (390, 844)) as after:
        assert after.page.context is one.page.context
        assert await after.page.evaluate(FIND) == [*NOTHING, 390, "prompt"]
