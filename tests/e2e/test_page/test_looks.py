"""The page fits its window at the width of a desk and of a phone; pictures of it are taken."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack, page_served

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


async def check_fit(tab: Tab, image: Path) -> None:
    """Nothing is wider than the window, and the composer stands inside it."""
    await tab.page.screenshot(path=image)
    width, window = await tab.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= window, image.name
    box, size = await tab.composer.bounding_box(), tab.page.viewport_size
    assert box is not None and size is not None
    assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"], image.name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_everything_fits_its_window(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, width: int, height: int
) -> None:
    await stack.join("llava-tiny", delay_s=0.01)
    await stack.join("llava-tiny-one-word", delay_s=0.02)
    long_word = "unbreakable" * 40
    async with opened(browser, stack.page, (width, height)) as tab:
        await expect(tab.transcript.locator(".example")).to_be_visible()
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models")
        await check_fit(tab, tmp_path / f"empty-{width}.png")

        await tab.ask(f"What colour is the circle? {long_word}", shapes)
        await tab.answered()
        await check_fit(tab, tmp_path / f"chat-{width}.png")

        await tab.compare()
        await tab.ask("| a | b |\n|---|---|\n| 1 | 2 | and `code` as well", shapes)
        await tab.answered(2)
        await check_fit(tab, tmp_path / f"compare-{width}.png")

        await stack.crash("llava-tiny-one-word")
        await tab.ask("is the second model still there?")
        await tab.answered(4)
        await check_fit(tab, tmp_path / f"error-{width}.png")


async def test_examples_that_do_not_fit_the_start_page_are_below_its_head(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other" / "examples"
    folder.mkdir(parents=True)
    shutil.copy(shapes, folder)
    row = {"files": [shapes.name], "question": "How many shapes are there?", "answer": "Two."}
    (folder / "examples.json").write_text(json.dumps([row] * 12))
    async with (
        page_served(stack.controller, folder.parent) as (page, _),
        opened(browser, page, (390, 844)) as tab,
    ):
        await expect(tab.transcript.locator(".example")).to_have_count(12)
        await stack.join("echo")
        await expect(tab.page.locator("#chat-status")).to_contain_text("1 model")
        hidden, above = await tab.transcript.evaluate(
            "box => [box.scrollHeight - box.clientHeight, box.scrollTop]"
        )
        assert hidden > 0
        assert above == 0
