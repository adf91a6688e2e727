"""What stands beneath compared answers, and their differences, in a real browser."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from llava_serve.web.compare.prices import Price, Prices
from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack, page_served
from tests.e2e.test_page.test_accessibility import SMALL, check, themes

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]
TEXT = "a **bold** red cat sits here and " + " ".join(f"word{n}" for n in range(40))


@SIZES
async def test_answers_are_measured_proved_and_their_differences_shown(
    browser: Browser,
    stack: Stack,
    shapes: Path,
    tmp_path: Path,
    size: tuple[int, int],
) -> None:
    await stack.join("one", delay_s=0.01)
    await stack.join("two", delay_s=0.05)
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask(TEXT, shapes)
        await tab.answered(2)
        first, second = tab.answers.nth(0), tab.answers.nth(1)
        for label in ("first token", "speed", "used", "input"):
            await expect(second.locator(".strip dt", has_text=label)).to_be_visible()
        await expect(first.locator(".strip .best", has_text="fastest")).to_be_visible()
        await expect(second.locator(".strip .best", has_text="fastest")).to_have_count(0)
        codes = await tab.transcript.locator(".strip code").all_text_contents()
        assert len(codes) == 2 and len({*codes}) == 1
        mark = tab.transcript.locator(".same-input")
        await expect(mark).to_contain_text("Same input: question, 1 file, temperature 0.2")
        await expect(mark).to_contain_text("seed ")
        await mark.scroll_into_view_if_needed()
        async for theme in themes(tab):
            await check(tab)
            await tab.page.screenshot(path=tmp_path / f"strip-{size[0]}-{theme}.png")

        await tab.page.reload()
        await expect(tab.transcript.locator(".same-input")).to_contain_text("Same input")
        assert await tab.transcript.locator(".strip code").all_text_contents() == codes
        await tab.page.get_by_role("button", name="Show differences").click()
        dialog = tab.page.get_by_role("dialog", name="Differences")
        await expect(dialog).to_contain_text("Both answers are the same, word for word.")
        await tab.page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        assert tab.foreign == []


@SIZES
async def test_what_each_answer_cost_stands_beneath_it(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    prices = Prices(
        models={"one": Price(input=1, output=2_000), "two": Price(input=1, output=1_000)}
    )
    (folder := tmp_path / "priced").mkdir()
    for name in ("one", "two"):
        await stack.join(name)
    async with (
        page_served(stack.controller, folder, prices=prices) as (address, _),
        opened(browser, address, size) as tab,
    ):
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask(TEXT)
        await tab.answered(2)
        for slot, cost in enumerate(("0.094047 USD", "0.047047 USD")):
            strip = tab.answers.nth(slot).locator(".strip")
            await expect(strip.locator("dt", has_text="cost")).to_be_visible()
            await expect(strip).to_contain_text(cost)
        cheapest = tab.answers.nth(1).locator(".strip .best", has_text="cheapest")
        await expect(cheapest).to_be_visible()


@SIZES
async def test_differences_are_seen_and_heard(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    delays_s = {"one": 0.02, "two": 0.02, "three": 0.2}
    engines = [await stack.join(name, delay_s=delay_s) for name, delay_s in delays_s.items()]
    async with opened(browser, f"{stack.page}/?model=one&model=two&model=three", size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-model .token")).to_have_count(3)
        await tab.ask(TEXT)
        await expect(tab.answers.nth(2)).to_contain_text("red")
        await tab.stop_button.click()  # so that they end in different places, or in none
        await tab.answered(3)
        assert [engine.running for engine in engines] == [0, 0, 0]
        await tab.page.get_by_role("button", name="Show differences").click()
        dialog = tab.page.get_by_role("dialog", name="Differences")
        one, other = dialog.get_by_label("From the answer"), dialog.get_by_label("to the answer")
        await expect(one).to_have_value("0")
        await expect(other).to_have_value("1")
        await other.select_option("2")
        await expect(dialog.locator(".result .text")).to_contain_text("**bold** red")
        await expect(dialog.locator("del")).to_contain_text("only in A: ")
        await expect(dialog.locator("ins")).to_have_count(0)
        await one.select_option("2")
        await expect(dialog).to_contain_text("the same, word for word")
        await other.select_option("1")
        await expect(dialog.locator("ins")).to_contain_text("only in B: ")
        async for theme in themes(tab):
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
            await tab.page.screenshot(path=tmp_path / f"difference-{size[0]}-{theme}.png")
        await dialog.get_by_role("button", name="Close").click()
        await expect(dialog).to_be_hidden()
