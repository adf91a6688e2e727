"""The examples of an empty conversation: on each tab that asks, seen whole, and one click away."""

import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from llava_serve import tiny
from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack, page_served

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]

# How much of each example is seen, from 0 to 1.
SEEN = """
box => [...box.querySelectorAll('.example')].map((card) => {
  const [one, all] = [card, box].map((element) => element.getBoundingClientRect());
  const seen = Math.min(one.bottom, all.bottom) - Math.max(one.top, all.top);
  return Math.max(0, seen) / one.height;
})
"""


@pytest.mark.parametrize(("name", "answers"), [("chat", 1), ("compare", 2), ("arena", 2)])
async def test_an_example_fills_the_box_and_is_answered(
    browser: Browser, stack: Stack, size: tuple[int, int], name: str, answers: int
) -> None:
    for model in ("one", "two"):
        await stack.join(model)
    async with opened(browser, stack.page, size) as tab:
        tab.name = name
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models are served")
        await tab.page.locator(f"#{name}-tab-button").click()
        await tab.transcript.locator(".example").click()
        await expect(tab.textbox).to_have_value("How many shapes are there?")
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        await tab.textbox.press("Enter")
        await tab.answered(answers)
        await expect(tab.answers.last).to_contain_text("[1 picture: 320x240] How many")


async def test_no_example_shows_as_a_sliver(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Those that ship: all of them fit a desk, and on a phone a row is cut so that it is seen."""
    shutil.copytree(tiny.EXAMPLES, tmp_path / "other" / "examples")
    async with (
        page_served(stack.controller, tmp_path / "other") as (page, _),
        opened(browser, page, size) as tab,
    ):
        for name in ("chat", "compare", "arena"):
            tab.name = name
            await tab.page.locator(f"#{name}-tab-button").click()
            await expect(tab.transcript.locator(".example")).to_have_count(9)
            await expect(tab.transcript.locator(".example").last).to_be_attached()
            seen = await tab.transcript.evaluate(SEEN)
            await tab.page.screenshot(path=tmp_path / f"examples-{name}-{size[0]}.png")
            assert [part for part in seen if 0 < part < 0.3] == []
            if name == "chat" and size == (1280, 800):
                assert min(seen) > 0.99
