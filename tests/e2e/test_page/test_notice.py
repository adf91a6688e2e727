"""The card above the box for questions can be closed, and goes once its user goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


def notice(tab: Tab) -> Locator:
    return tab.transcript.locator(".notice .card.error")


@pytest_asyncio.fixture(params=[(1280, 800), (390, 844)], loop_scope="session")
async def refused(
    request: pytest.FixtureRequest, stack: Stack, browser: Browser
) -> AsyncIterator[Tab]:
    """A tab of each width, where a question with nothing in it was sent."""
    await stack.join("echo", delay_s=0.01)
    async with opened(browser, stack.page, request.param) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.textbox.press("Enter")
        await expect(notice(tab)).to_be_visible()
        yield tab


async def check_gone(tab: Tab) -> None:
    """The server has forgotten it too: a page that is loaded again does not bring it back."""
    await expect(notice(tab)).to_have_count(0)
    await expect(tab.page.locator("#clear")).to_be_disabled()


async def test_an_empty_question_is_said_to_be_empty(refused: Tab) -> None:
    card = notice(refused)
    await expect(card.locator("strong")).to_have_text("The question is empty.")
    await expect(card.locator("p")).to_have_text("Type a question or attach a picture.")
    await expect(card).to_be_in_viewport(ratio=1)


async def test_its_button_closes_it(refused: Tab) -> None:
    close = refused.transcript.get_by_role("button", name="Close")
    box = await close.bounding_box()
    assert box is not None and min(box["width"], box["height"]) >= 24
    await close.click()
    await check_gone(refused)
    await expect(refused.textbox).to_be_focused()
    await refused.textbox.press("Enter")
    await expect(notice(refused)).to_be_visible()


async def test_an_example_takes_it_away(refused: Tab) -> None:
    await refused.transcript.locator(".example .images").click(position={"x": 5, "y": 5})
    await check_gone(refused)
    await expect(refused.textbox).to_have_value("How many shapes are there?")


async def test_typing_takes_it_away_and_loses_nothing(refused: Tab) -> None:
    await refused.textbox.press_sequentially("hello there", delay=5)
    await check_gone(refused)
    await expect(refused.textbox).to_have_value("hello there")


async def test_attaching_takes_it_away(refused: Tab, shapes: Path) -> None:
    await refused.page.locator("#chat-composer input[type=file]").set_input_files([shapes])
    await check_gone(refused)
    await expect(refused.composer.locator(".thumbnail-item")).to_have_count(1)


async def test_a_vote_takes_it_away(refused: Tab) -> None:
    await refused.ask("hello")
    await refused.answered()
    await refused.textbox.press("Enter")
    await expect(notice(refused)).to_be_visible()
    await refused.transcript.locator("[data-vote=up]").click()
    await expect(refused.transcript.locator("[data-vote=up]")).to_have_attribute(
        "aria-pressed", "true"
    )
    await expect(notice(refused)).to_have_count(0)


async def test_another_choice_of_models_takes_it_away(browser: Browser, stack: Stack) -> None:
    await stack.join("one")
    await stack.join("two")
    async with opened(browser, stack.page) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-model .token")).to_have_count(2)
        await tab.page.locator("#compare-model .token-remove").first.click()
        await tab.page.keyboard.press("Escape")
        await tab.textbox.fill("hello")
        await tab.textbox.press("Enter")
        await expect(notice(tab)).to_contain_text("a comparison takes two to six")
        await tab.page.locator("#compare-model input").click()
        await tab.page.get_by_role("option", name="one").click()
        await expect(notice(tab)).to_have_count(0)
        await expect(tab.textbox).to_have_value("hello")
