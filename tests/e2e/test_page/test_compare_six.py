"""Six models in the comparison, in a real browser."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]
WIDTH = "one => one.getBoundingClientRect().width"
MODELS = ("one", "two", "three", "four", "five", "six")


@SIZES
async def test_six_models_answer_side_by_side_and_the_last_can_win(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    for model in MODELS:
        await stack.join(model)
    asked = "&".join(f"model={model}" for model in MODELS)
    async with opened(browser, f"{stack.page}/?{asked}", size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-model .token")).to_have_count(6)
        await tab.ask("what is to be seen in this picture, and what is not?", shapes)
        await tab.answered(6)
        last = tab.answers.nth(5)
        await last.scroll_into_view_if_needed()
        await expect(last.locator(".model")).to_contain_text("six")
        assert await last.locator(".model").evaluate(WIDTH) > 60
        await expect(last).to_be_in_viewport(ratio=0.5)
        widths = [await one.evaluate(WIDTH) for one in await tab.answers.all()]
        assert min(widths) >= 180 and max(widths) - min(widths) < 2
        await tab.page.screenshot(path=tmp_path / f"six-{size[0]}.png")
        await tab.page.click("#better-F")
        await expect(tab.transcript).to_contain_text("You found six better.")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await tab.page.evaluate(overflow) <= 0
