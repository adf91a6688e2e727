"""Drafts that are damaged or of other tabs, and a transcript that fails to come, in a browser."""

import pytest
from playwright.async_api import Browser, Route, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

DAMAGED = """
for (const storage of [localStorage, sessionStorage]) storage['draft chat '] ??= '{"text'
"""
# Keeps how long the page waits before it asks for a transcript again.
WATCH_WAITS = """
window.waits = [];
const later = window.setTimeout;
window.setTimeout = (work, ms, ...rest) => {
  if (ms >= 500 && new Error().stack.includes('Conversation.read')) window.waits.push(ms);
  return later(work, ms, ...rest);
};
"""


async def test_a_damaged_draft_does_not_end_the_saving_of_drafts(tab: Tab) -> None:
    await tab.page.add_init_script(DAMAGED)
    await tab.page.reload()
    await expect(tab.model).to_have_value("echo")
    await tab.textbox.fill("a draft")
    await tab.page.wait_for_function("Object.values(sessionStorage).join().includes('a draft')")
    await tab.page.reload()
    await expect(tab.textbox).to_have_value("a draft")


async def test_two_new_conversations_have_a_draft_each(tab: Tab, stack: Stack) -> None:
    other = await tab.another()
    await other.page.goto(stack.page)
    for one, text in ((tab, "the first"), (other, "the second")):
        await expect(one.model).to_have_value("echo")
        await one.textbox.fill(text)
        kept = f"[localStorage, sessionStorage].flatMap(Object.values).join().includes('{text}')"
        await one.page.wait_for_function(kept)
    for one, text in ((tab, "the first"), (other, "the second")):
        await one.page.reload()
        await expect(one.textbox).to_have_value(text)


async def test_a_connection_that_was_good_is_tried_again_soon(
    browser: Browser, stack: Stack
) -> None:
    async def cut(route: Route) -> None:
        await route.fulfill(content_type="text/event-stream", body='data: {"notice":""}\n\n')

    async with opened(browser, "about:blank") as tab:
        await tab.page.add_init_script(WATCH_WAITS)
        await tab.page.route("**/transcript", cut)
        await tab.page.goto(stack.page)
        await tab.page.wait_for_function("window.waits.length >= 3")
        assert set(await tab.page.evaluate("window.waits")) == {500}


async def test_a_transcript_that_is_refused_is_asked_for_once(
    browser: Browser, stack: Stack
) -> None:
    async with opened(browser, "about:blank") as tab:
        await tab.page.add_init_script(WATCH_WAITS)
        await tab.page.route("**/transcript", lambda route: route.fulfill(status=403))
        await tab.page.goto(stack.page)
        await expect(tab.page.locator("#chat-link")).to_contain_text("Load the page again")
        assert await tab.page.evaluate("window.waits") == []
