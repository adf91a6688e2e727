"""Questions edited and answers made again are versions, with arrows between them.

Each at the width of a desk and of a phone.
"""

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack
from tests.e2e.test_page.test_accessibility import SMALL, check

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]


class Branches:
    """The tools of a turn in a tab of the page."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self.questions = tab.transcript.locator(".turn.user .said")
        self.banner = tab.page.locator(f"#{tab.name}-editing .editing")

    async def edit(self, turn: int, text: str) -> None:
        """Send another text in place of a question."""
        question = self._tab.transcript.locator(".turn.user").nth(turn)
        await question.hover()
        await question.get_by_role("button", name="Edit this question").click()
        await expect(self.banner).to_be_in_viewport()
        await self._tab.textbox.fill(text)
        await self._tab.textbox.press("Enter")
        await expect(self.banner).to_have_count(0)

    async def go(self, of: str, label: str) -> None:
        group = self._tab.transcript.get_by_role("group", name=f"Versions of this {of}")
        await group.get_by_role("button", name=label).click()


async def test_any_question_is_edited_and_each_version_has_what_followed_it(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        branches = Branches(tab)
        await tab.ask("the first", shapes)
        await tab.answered()
        await tab.ask("the second")
        await tab.answered(2)

        await tab.transcript.locator(".turn.user").first.hover()
        await tab.transcript.get_by_role("button", name="Edit this question").first.click()
        await expect(tab.textbox).to_have_value("the first")
        await expect(tab.textbox).to_be_focused()
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        await expect(branches.banner).to_contain_text("editing “the first”")
        await tab.page.screenshot(path=tmp_path / f"editing-{size[0]}.png")
        assert await tab.page.evaluate(SMALL) == []
        await branches.banner.get_by_role("button", name="Cancel").click()
        await expect(branches.banner).to_have_count(0)
        await expect(tab.textbox).to_have_value("")
        await expect(tab.answers).to_have_count(2)

        await branches.edit(0, "another first")
        await tab.answered()
        await expect(branches.questions).to_have_text(["another first"])
        await expect(tab.transcript).to_contain_text("2 / 2")
        await tab.ask("what follows")
        await tab.answered(2)
        await branches.go("question", "Version before")
        await expect(branches.questions).to_have_text(["the first", "the second"])
        await expect(tab.transcript).to_contain_text("1 / 2")
        focused = tab.page.locator(":focus")
        await expect(focused).to_have_attribute("aria-label", "Version before")
        await tab.page.screenshot(path=tmp_path / f"versions-{size[0]}.png")
        await tab.page.reload()
        await expect(branches.questions).to_have_text(["the first", "the second"])
        await branches.go("question", "Version after")
        await expect(branches.questions).to_have_text(["another first", "what follows"])
        await tab.page.reload()
        await expect(branches.questions).to_have_text(["another first", "what follows"])
        assert tab.foreign == []


@pytest.mark.parametrize("kind", ["chat", "compare"])
async def test_an_answer_made_again_is_a_version_with_its_own_vote(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int], kind: str
) -> None:
    await stack.join("echo")
    await stack.join("other")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        count, again = 1, "#again"
        if kind == "compare":
            await tab.compare()
            await expect(tab.page.locator("#compare-status")).to_contain_text("2 models")
            count, again = 2, "#compare-again"
        branches = Branches(tab)
        await tab.ask("a question")
        await tab.answered(count)
        vote = tab.answers.first.locator("[data-vote=up]")
        await vote.click()
        await expect(vote).to_have_attribute("aria-pressed", "true")
        await tab.page.click(again)
        await expect(tab.transcript).to_contain_text("2 / 2")
        await expect(vote).to_have_attribute("aria-pressed", "false")
        await tab.page.screenshot(path=tmp_path / f"again-{kind}-{size[0]}.png")
        await branches.go("answer", "Version before")
        await expect(vote).to_have_attribute("aria-pressed", "true")
        await tab.answered(count)
        await branches.edit(0, "asked otherwise")
        await tab.answered(count)
        await expect(tab.answers.first).to_contain_text("asked otherwise")
        await check(tab)
        assert await tab.page.evaluate(SMALL) == []
