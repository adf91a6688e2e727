"""A first visit: a picture is asked about, two models compared, a battle voted on and counted.

Every step is to be found in what the page shows: an example, a button or a tab by its name.
"""

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


@SIZES
async def test_from_a_picture_to_the_leaderboard(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for name in ("one", "two"):
        await stack.join(name)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models are served")
        for name, answers in (("Chat", 1), ("Compare", 2), ("Arena", 2)):
            tab.name = name.lower()
            await tab.page.get_by_role("tab", name=name).click()
            await tab.transcript.get_by_role("button", name="How many shapes").click()
            await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
            await tab.composer.get_by_role("button", name="Submit").click()
            await tab.answered(answers)
            await expect(tab.answers.first.locator(".text")).to_be_in_viewport()
            if name != "Chat":
                better = tab.page.get_by_role("button", name="A is better").locator("visible=true")
                await better.scroll_into_view_if_needed()
                await better.click()
        await expect(tab.transcript.locator(".outcome")).to_be_in_viewport()
        await tab.page.get_by_role("tab", name="Leaderboard").click()
        board = tab.page.locator("#leaderboard")
        await expect(board).to_contain_text("1 vote; ties: 0")  # that of the arena
        await expect(board.locator(".ratings tbody tr")).to_have_count(2)
