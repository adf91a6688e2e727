"""What the page's scripts show in Chinese: no English is left, and nothing is cut."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, PHONE, SIZES, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]

NAMES = re.compile(r"\b(?:Enter|Shift|Esc|Ctrl|PDF)\b")
WORD = re.compile(r"[A-Za-z]{2,}")
# All that parts of the page say: their texts, and what their controls are called.
SAID = """parts => parts
  .flatMap((part) => [part, ...part.querySelectorAll('*')])
  .flatMap((one) => [...one.childNodes, {data: one.title}, {data: one.placeholder},
    {data: one.ariaLabel}])
  .map((node) => node.data?.trim()).filter(Boolean)"""
CUT = """parts => parts
  .filter((one) => one.getClientRects().length && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.outerHTML)"""
TEXTS = ":is(#past, dialog[open], .refusals) :is(button, a, h2, dd, p)"
FITS = """[document.documentElement, ...document.querySelectorAll('dialog[open]')].every((one) =>
  one.getBoundingClientRect().right <= innerWidth && one.scrollWidth <= innerWidth)"""


async def check_chinese(page: Page, selector: str) -> None:
    said = await page.locator(selector).evaluate_all(SAID)
    assert said, selector
    assert [text for text in said if WORD.search(NAMES.sub("", text))] == []
    assert await page.locator(TEXTS).evaluate_all(CUT) == []
    assert await page.evaluate(FITS)


async def test_what_scripts_show_is_in_chinese(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, "about:blank", size) as tab:
        page = tab.page
        await page.context.add_cookies([{"name": "language", "value": "zh", "url": stack.page}])
        await page.goto(stack.page)
        await expect(tab.model).to_have_value("echo")
        if size == PHONE:
            await page.locator("#past-toggle").click()
        await expect(page.locator("#past")).to_be_visible()
        await check_chinese(page, "#past-toggle, #past :is(h2, .row, input)")
        await page.screenshot(path=tmp_path / f"past-{size[0]}.png")
        if size == PHONE:
            await page.keyboard.press("Escape")
        await page.locator("#shortcuts-toggle").click()
        await check_chinese(page, "#shortcuts-toggle, #shortcuts")
        await page.screenshot(path=tmp_path / f"shortcuts-{size[0]}.png")
        await page.keyboard.press("Escape")
        await check_chinese(page, "#camera")
        chooser = page.locator("#chat-composer input[type=file]")
        await chooser.set_input_files(shapes)
        await page.locator(".edit-image").click()
        await expect(page.locator("#crop .size")).to_contain_text("像素")
        await check_chinese(page, "#crop, .edit-image")
        await page.screenshot(path=tmp_path / f"crop-{size[0]}.png")
        await page.keyboard.press("Escape")
        (broken := tmp_path / "broken.png").write_bytes(b"no picture")
        await chooser.set_input_files(broken)
        await expect(page.locator(".refusals .without")).to_be_visible()
        await tab.textbox.press("Enter")
        await expect(page.locator(".refusals .unsent")).not_to_be_empty()
        await check_chinese(page, ".refusals :is(.close, .choice)")
        await page.screenshot(path=tmp_path / f"refused-{size[0]}.png")
