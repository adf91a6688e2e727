"""Files of a draft: they stay with it over reloads until they are sent, or are said to be gone.

Each at the width of a desk and of a phone.
"""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from llava_serve.web import uploads
from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack
from tests.e2e.test_page.test_coming_back import reloaded

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]


async def test_a_draft_keeps_its_picture_over_every_reload_until_it_is_sent(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    async def cut(route: Route) -> None:
        if "shapes.png" in (route.request.post_data or ""):
            await route.abort()
            cuts.set()
        else:
            await route.continue_()

    cuts = asyncio.Event()
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        thumbnail, cost = tab.composer.locator(".thumbnail-item"), tab.page.locator("#chat-cost")
        await tab.composer.locator("input[type=file]").set_input_files([shapes])
        await expect(thumbnail).to_have_count(1)
        await tab.textbox.fill("a draft")
        for _ in range(2):
            await expect(cost).to_contain_text("Picture: 1 token · text: about 2")
            await reloaded(tab)
            await expect(tab.textbox).to_have_value("a draft")
            await expect(thumbnail).to_have_count(1)
        await tab.page.route("**/gradio_api/**", cut)  # and so it does not come back this time
        await reloaded(tab)
        await cuts.wait()
        await tab.textbox.fill("another draft")
        await tab.page.wait_for_function("Object.values(sessionStorage).join().includes('other')")
        await tab.page.unroute("**/gradio_api/**")
        await reloaded(tab)
        await expect(thumbnail).to_have_count(1)
        await expect(cost).to_contain_text("Picture: 1 token · text: about 4")
        await tab.textbox.fill("")
        await expect(cost).to_contain_text("Picture: 1 token · 4,095 of")
        await tab.textbox.press("Enter")
        await tab.answered()
        await expect(tab.answers.last.locator(".text")).to_contain_text("[1 picture: 320x240]")
        await expect(thumbnail).to_have_count(0)
        await reloaded(tab)  # at once
        await tab.page.wait_for_function("window.conversations.of('chat').draft === ''")
        await tab.answered()
        await tab.composer.locator("input[type=file]").set_input_files([shapes])
        await expect(cost).to_contain_text("Picture: 1 token ·")
        await tab.textbox.press("Enter")
        await tab.answered(2)
        await tab.page.wait_for_function("!window.conversations.of('chat').attached.length")
        await expect(cost).to_be_hidden()


async def test_a_draft_whose_picture_is_gone_says_so(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.composer.locator("input[type=file]").set_input_files([shapes])
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        await tab.textbox.fill("a draft")
        await tab.page.wait_for_function("Object.values(sessionStorage).join().includes('a draft')")
        uploads.use_folder(tmp_path / "uploads")  # as a page does that is started again
        await reloaded(tab)
        told = tab.page.locator("#chat-composer-refusals .told")
        await expect(told).to_contain_text("1 file of what you had typed is here no longer")
        await expect(told).to_be_in_viewport()
        await expect(tab.textbox).to_have_value("a draft")
        await expect(tab.page.locator("#chat-cost")).to_contain_text("Text: about 2 tokens")
