"""The page can be read, reached and heard: axe-core, the order of Tab, what is spoken."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

RUN = "([part, rules]) => axe.run(part ?? document, rules).then((all) => all.violations)"
RULES = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
# Smaller than this no control is, unless it stands in a line of text.
LEAST_PX = 24
SMALL = f"""
() => [...document.querySelectorAll('button, [role=tab], input, textarea, summary')]
  .filter((one) => one.checkVisibility() && !one.closest('.unseen'))
  .map((one) => [one.outerHTML.slice(0, 160), one.getBoundingClientRect()])
  .filter(([, box]) => Math.min(box.width, box.height) > 1 && box.right > 0)
  .filter(([, box]) => Math.min(box.width, box.height) < {LEAST_PX})
  .map(([html, box]) => `${{box.width}}x${{box.height}} ${{html}}`)
"""


async def check(tab: Tab) -> None:
    """No violation of any weight."""
    await tab.page.mouse.move(0, 0)
    assert await violations(tab) == []


async def violations(tab: Tab, part: str | None = None) -> list[str]:
    """Return what axe-core finds in the page, or in what the selector `part` finds."""
    if not await tab.page.evaluate("'axe' in window"):
        await tab.page.evaluate(AXE_SCRIPT)
    found = await tab.page.evaluate(RUN, [part, RULES])
    return [
        f"{one['impact']} {one['id']}: {[node['target'] for node in one['nodes']]}" for one in found
    ]


async def check_themes(tab: Tab) -> None:
    async for _ in themes(tab):
        await check(tab)


async def themes(tab: Tab) -> AsyncIterator[str]:
    """Show the page dark and then light, as a system's switch does; yield which of them."""
    still = await tab.page.add_style_tag(content="* { transition: none !important; }")
    for scheme in SCHEMES:
        await tab.page.emulate_media(color_scheme=scheme)
        await expect(tab.page.locator("html.dark, .dark")).to_have_count(int(scheme == "dark"))
        yield scheme
    await still.evaluate("one => one.remove()")


@SIZES
async def test_axe_finds_nothing_in_either_theme(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    for model in ("one", "two"):
        await stack.join(model)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models are served")
        await check_themes(tab)
        await tab.ask("**What** is [this](http://example.org)? `code`", shapes)
        await tab.answered()
        await check_themes(tab)
        await tab.open_parameters()
        await check_themes(tab)
        await tab.compare()
        await check_themes(tab)
        await tab.ask("| a | b |\n|---|---|\n| 1 | 2 |")
        await tab.answered(2)
        await check_themes(tab)
        await stack.crash("two")
        await tab.ask("still there?")
        await tab.answered(4)
        await check_themes(tab)


@SIZES
async def test_the_address_can_ask_for_a_theme(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, f"{stack.page}/?__theme=light", size) as tab:
        for theme, other in zip(SCHEMES, reversed(SCHEMES), strict=True):
            await tab.page.emulate_media(color_scheme=other)
            await tab.page.goto(f"{stack.page}/?__theme={theme}")
            await expect(tab.model).to_have_value("echo")
            await expect(tab.page.locator("html.dark, .dark")).to_have_count(int(theme == "dark"))
            await check(tab)


@SIZES
async def test_the_box_is_three_tabs_away_and_nothing_is_too_small(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for model in ("one", "two"):
        await stack.join(model)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models are served")
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("llava_serve")
        for _ in range(3):
            await tab.page.keyboard.press("Tab")
        await expect(tab.textbox).to_be_focused()
        await tab.ask("hello")
        await tab.answered()
        assert await tab.page.evaluate(SMALL) == []
        await tab.page.get_by_role("tab", name="Chat").focus()
        await tab.page.keyboard.press("ArrowRight")
        tab.name = "compare"
        await expect(tab.page.get_by_role("tab", name="Compare")).to_be_focused()
        await expect(tab.textbox).to_be_visible()
        await tab.page.keyboard.press("Tab")
        await tab.page.keyboard.press("Tab")
        await expect(tab.textbox).to_be_focused()
        assert await tab.page.evaluate(SMALL) == []


@SIZES
async def test_an_answer_is_spoken_once_when_it_is_whole(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo", delay_s=0.05)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.page.evaluate(
            """() => {
              window.spoken = [];
              const region = document.querySelector('#spoken');
              new MutationObserver(() => region.textContent && spoken.push(region.textContent))
                .observe(region, {childList: true, characterData: true, subtree: true});
            }"""
        )
        await expect(tab.page.locator("#spoken")).to_have_attribute("role", "status")
        await tab.ask(" ".join(f"word{n}" for n in range(30)))
        await expect(tab.answers.last).to_contain_text("word5")
        assert await tab.page.evaluate("spoken") == []
        await tab.answered()
        await expect(tab.page.locator("#spoken")).to_contain_text("word29")
        await stack.crash("echo")
        await tab.ask("again?")
        await tab.answered(2)
        await expect(tab.page.locator("#spoken")).to_contain_text("The model")
        (first, second) = await tab.page.evaluate("spoken")
        assert first.startswith("echo") and "word0" in first and "word29" in first
        assert "word29" not in second
