"""Presets in a real browser: they outlive a reload, and are there in the other tab as well."""

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack
from tests.e2e.test_page.test_accessibility import SMALL, check

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

HOSTILE = "<img src=x onerror=alert(1)>"


def within(tab: Tab, name: str) -> Locator:
    return tab.page.locator(f"#{tab.name}-preset{name}")


async def open_parameters(tab: Tab) -> None:
    await tab.open_parameters()
    await expect(within(tab, "-name").locator("input, textarea")).to_be_visible()


def system(tab: Tab) -> Locator:
    return tab.page.get_by_label("System prompt").locator("visible=true")


async def save(tab: Tab, name: str) -> None:
    await within(tab, "-name").locator("input, textarea").fill(name)
    await within(tab, "-save").click()
    await expect(within(tab, "-said")).to_have_text(f"Saved as {name}.")


async def choose(tab: Tab, name: str) -> None:
    await within(tab, "").locator("input").click()
    await tab.page.get_by_role("option", name=name).click()


@SIZES
async def test_a_preset_comes_back_after_a_reload_and_in_the_other_tab(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for model in ("one", "two"):
        await stack.join(model)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models are served")
        await open_parameters(tab)
        await system(tab).fill("Be brief.")
        await save(tab, "short")
        await system(tab).fill("Be <b>long</b>.")
        await save(tab, HOSTILE)
        await check(tab)
        small = await tab.page.evaluate(SMALL)
        assert [one for one in small if "preset" in one.lower()] == []
        await tab.page.reload()
        await open_parameters(tab)
        await expect(system(tab)).to_have_value("")
        await choose(tab, "short")
        await expect(system(tab)).to_have_value("Be brief.")
        await tab.compare()
        await open_parameters(tab)
        await choose(tab, HOSTILE)
        await expect(system(tab)).to_have_value("Be <b>long</b>.")
        await within(tab, "-name").locator("input, textarea").fill("longer")
        await within(tab, "-rename").click()
        await expect(within(tab, "-said")).to_have_text("Renamed to longer.")
        await within(tab, "-delete").click()
        await expect(within(tab, "-said")).to_have_text("longer is deleted.")
        await expect(system(tab)).to_have_value("Be <b>long</b>.")
        await within(tab, "-delete").click()
        await expect(tab.page.get_by_role("alert").locator("visible=true")).to_contain_text(
            "No preset is chosen"
        )


@SIZES
async def test_another_browser_has_none_of_them(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with (
        opened(browser, stack.page, size) as mine,
        opened(browser, stack.page, size) as theirs,
    ):
        await open_parameters(mine)
        await save(mine, "mine")
        await open_parameters(theirs)
        await within(theirs, "").locator("input").click()
        await expect(theirs.page.get_by_role("option", name="mine")).to_have_count(0)
