"""An open page costs little: it draws nothing and asks for little while nothing happens."""

import asyncio
import json
import sys
from contextlib import ExitStack

import aiohttp
import pytest
from playwright.async_api import Browser, Request, Route, expect

from scripts.bench_systems import started
from scripts.page_tabs import weigh
from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack
from tests.ports import free_port

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

COUNT_FRAMES = """
window.frames_asked = 0;
const request = window.requestAnimationFrame;
window.requestAnimationFrame = (draw) => {
  window.frames_asked += 1;
  return request(draw);
};
"""
# What the page does again and again, for the test to do at once.
KEEP_ROUNDS = """
window.rounds = [];
const every = window.setInterval;
window.setInterval = (work, ms) => {
  window.rounds.push(work);
  return every(work, ms);
};
Object.defineProperty(document, 'hidden', {get: () => window.isHidden ?? false});
"""
COUNT_CHANGES = """
window.changes = 0;
document.addEventListener('DOMContentLoaded', () => new MutationObserver((records) => {
  const live = document.querySelector('#chat-live .parts');
  window.changes += records.filter(({target}) => live?.contains(target)).length;
}).observe(document.body, {childList: true, subtree: true, characterData: true}));
"""


async def news(tab: Tab, count: int) -> None:
    """Wait until the page has asked for news so many times."""
    for _ in range(count):
        async with tab.page.expect_response("**/news?*"):
            pass


async def test_a_page_at_rest_asks_for_no_frame(browser: Browser, stack: Stack) -> None:
    await stack.join("echo")
    async with opened(browser, "about:blank") as tab:
        await tab.page.add_init_script(COUNT_FRAMES)
        await tab.page.goto(stack.page)
        await expect(tab.model).to_have_value("echo")
        await news(tab, 2)
        before = await tab.page.evaluate("window.frames_asked")
        await news(tab, 1)
        assert await tab.page.evaluate("window.frames_asked") - before < 30


async def test_a_page_at_rest_calls_no_event(tab: Tab) -> None:
    calls: list[str] = []

    def keep(request: Request) -> None:
        if "/gradio_api/" in request.url:
            calls.append(request.url)

    await news(tab, 2)
    tab.page.on("request", keep)
    await news(tab, 3)
    assert calls == []


async def test_news_whose_event_fails_come_with_a_later_one(browser: Browser, stack: Stack) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page) as tab:
        await expect(tab.page.locator("#chat-status")).to_contain_text("1 model is served")
        await news(tab, 3)
        failed = asyncio.Event()

        async def fail(route: Route) -> None:
            failed.set()
            await route.fulfill(status=500, json={"error": None})

        await tab.page.route("**/gradio_api/run/**", fail)
        await stack.join("another")
        await failed.wait()
        await tab.page.unroute("**/gradio_api/run/**")
        looks: list[str] = []
        tab.page.on("response", lambda one: looks.append(one.url) if "/news?" in one.url else None)
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models")
        assert len(looks) < 10


async def test_a_page_that_nobody_sees_asks_for_nothing_until_it_is_seen(
    browser: Browser, stack: Stack
) -> None:
    await stack.join("echo")
    asked: list[str] = []
    async with opened(browser, "about:blank") as tab:
        await tab.page.add_init_script(KEEP_ROUNDS)
        await tab.page.goto(stack.page)
        await expect(tab.model).to_have_value("echo")
        await news(tab, 1)
        await tab.page.evaluate("window.isHidden = true")
        tab.page.on("request", lambda request: asked.append(request.url))
        await tab.page.evaluate("Promise.all(window.rounds.map((work) => work()))")
        assert [url for url in asked if "/news" in url] == []
        await stack.join("another")
        await tab.page.evaluate("window.isHidden = false")
        await tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models")


async def test_changes_that_come_together_are_drawn_once(browser: Browser, stack: Stack) -> None:
    words = [f"word{n} " for n in range(20)]
    texts = ["".join(words[: n + 1]) for n in range(len(words))]
    changes: list[dict[str, object]] = [{"marks": [], "new": {}, "live": [0, 0, words[0]]}]
    changes += [
        {"live": [len(before), 0, word]} for before, word in zip(texts, words[1:], strict=False)
    ]

    async def answer(route: Route) -> None:
        body = "".join(f"data: {json.dumps(one)}\n\n" for one in changes)
        await route.fulfill(content_type="text/event-stream", body=body)

    async with opened(browser, "about:blank") as tab:
        await tab.page.add_init_script(COUNT_CHANGES)
        await tab.page.route("**/transcript", answer)
        await tab.page.goto(stack.page)
        await expect(tab.page.locator("#chat-live")).to_contain_text("word19")
        assert await tab.page.evaluate("window.changes") == 1


async def test_the_page_weighs_at_most_100_kb_more_than_gradio(
    browser: Browser, stack: Stack
) -> None:
    """One component of each kind that the page has, and nothing of ours, is Gradio's own."""
    ours = await weigh(browser, stack.page, "#chat-history .example")
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.get(f"{stack.page}/config") as told,
    ):
        kinds = sorted({one["type"] for one in (await told.json())["components"]})
    port = free_port()
    command = [sys.executable, "-m", "scripts.bare_gradio", "--port", str(port), *kinds]
    with ExitStack() as life:
        await asyncio.to_thread(life.enter_context, started(command, port))
        theirs = await weigh(browser, f"http://127.0.0.1:{port}", ".gradio-container")
    assert ours.wire - theirs.wire < 100_000
