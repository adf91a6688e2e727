"""A PDF for a question: its pages are attached as pictures, and the page says which."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack
from tests.e2e.test_page.test_accessibility import SMALL, check
from tests.e2e.test_page.test_attaching import choose, send
from tests.e2e.test_page.test_images import crop
from tests.web.pdf import pdf_files

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

A4 = (595, 842)


@pytest.mark.parametrize(
    ("size", "theme"),
    [
        pytest.param((1280, 800), "light", id="1280"),
        pytest.param((390, 844), "dark", id="390"),
    ],
)
async def test_a_pdf_becomes_pictures_of_its_pages(
    browser: Browser,
    stack: Stack,
    shapes: Path,
    tmp_path: Path,
    size: tuple[int, int],
    theme: str,
) -> None:
    await stack.join("echo")
    long, short, locked = (tmp_path / name for name in ("long.pdf", "short", "locked.pdf"))
    long.write_bytes(pdf_files.of_pages(*[(100, 140)] * 18))
    short.write_bytes(pdf_files.of_pages(A4, A4[::-1]))
    locked.write_bytes(pdf_files.locked())
    async with opened(browser, f"{stack.page}/?__theme={theme}", size) as tab:
        await expect(tab.model).to_have_value("echo")
        assert await tab.composer.locator("input[type=file]").get_attribute("accept") in (None, "")
        await _is_asked_about(tab, short)
        await _is_refused(tab, locked)
        await _is_taken_in_part(tab, shapes, long)


async def _is_asked_about(tab: Tab, pdf: Path) -> None:
    thumbnails, note = tab.composer.locator(".thumbnail-item"), _note(tab)
    await send(tab, pdf, "body", "dragenter", "dragover", "drop")
    await expect(thumbnails).to_have_count(2)
    await expect(note).to_be_hidden()
    await tab.page.get_by_role("button", name="Crop or rotate picture 2").click()
    await expect(crop(tab)).to_contain_text("2000 by 1414 pixels")
    await crop(tab).get_by_role("button", name="Cancel").click()
    await tab.textbox.fill("what?")
    await tab.textbox.press("Enter")
    await tab.answered()
    await expect(tab.answers.last).to_contain_text("[2 pictures: 1414x2000, 2000x1414] what?")
    await tab.page.click("#clear")
    await expect(tab.answers).to_have_count(0)


async def _is_refused(tab: Tab, pdf: Path) -> None:
    await choose(tab, pdf)
    card = tab.page.locator("#chat-composer-refusals .card.error")
    await expect(card).to_contain_text("'locked.pdf' is locked with a password.")
    await expect(card).to_be_in_viewport(ratio=1)
    await expect(_note(tab)).to_be_hidden()
    await check(tab)
    await tab.page.locator("#chat-composer-refusals .close").click()


async def _is_taken_in_part(tab: Tab, picture: Path, pdf: Path) -> None:
    await choose(tab, pdf, picture)
    note = _note(tab)
    await expect(note).to_have_text(
        "Pages 1 to 15 of 18 of long.pdf are attached: more do not fit one question."
    )
    await expect(note).to_be_in_viewport(ratio=1)
    await expect(tab.textbox).to_be_in_viewport(ratio=1)
    await expect(tab.composer.locator(".thumbnail-item")).to_have_count(16)
    await check(tab)
    assert await tab.page.evaluate(SMALL) == []
    await tab.textbox.fill("and now?")
    await tab.textbox.press("Enter")
    await tab.answered()
    await expect(tab.answers.last).to_contain_text("[16 pictures")
    await expect(note).to_be_hidden()


def _note(tab: Tab) -> Locator:
    return tab.page.locator("#chat-composer-refusals .page-note")
