"""The page by its keys: send, new line, stop, the last question again, and the list of them."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack
from tests.e2e.test_page.test_accessibility import SMALL, check, themes

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


@SIZES
async def test_arrow_up_in_an_empty_box_edits_the_last_question(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        keys = tab.page.keyboard
        await tab.textbox.press("ArrowUp")  # there is no question yet
        await tab.ask("first", shapes)
        await tab.answered()
        await tab.textbox.fill("one")
        await keys.press("Shift+Enter")
        await keys.type("two")
        await expect(tab.textbox).to_have_value("one\ntwo")
        await keys.press("ArrowUp")  # within a text it moves the caret
        await expect(tab.textbox).to_have_value("one\ntwo")
        await expect(tab.answers).to_have_count(1)
        await tab.textbox.fill("")
        await keys.press("ArrowUp")
        await expect(tab.textbox).to_have_value("first")
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        await expect(tab.page.get_by_text("You are editing “first”")).to_be_visible()
        await expect(tab.answers).to_have_count(1)


@SIZES
async def test_the_list_of_keys_opens_by_its_key_and_its_button_and_stops_no_answer(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo", delay_s=0.2)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        keys, shortcuts = tab.page.keyboard, tab.page.get_by_role("dialog", name="Keyboard")
        await tab.textbox.press("?")
        await expect(tab.textbox).to_have_value("?")
        await expect(shortcuts).to_be_hidden()
        await tab.ask(" ".join(f"word{n}" for n in range(2000)))
        await expect(tab.stop_button).to_be_visible()
        await tab.page.get_by_role("tab", name="Chat").focus()
        await keys.press("?")
        await expect(shortcuts).to_contain_text("edit the last question")
        async for _ in themes(tab):
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
        await keys.press("Escape")
        await expect(shortcuts).to_be_hidden()
        await expect(tab.stop_button).to_be_visible()
        await tab.page.get_by_role("button", name="Keyboard shortcuts").click()
        await shortcuts.get_by_role("button", name="Close").click()
        await expect(shortcuts).to_be_hidden()
        await keys.press("Escape")
        await tab.answered()
