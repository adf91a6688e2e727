"""What is cleared can be brought back, what comes too early is kept, what was voted can change.

Each at the width of a desk and of a phone.
"""

import json
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from llava_serve.storage import export
from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]

LONG = " ".join(f"word{n}" for n in range(2000))


async def test_clear_can_be_undone_until_the_next_question(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        undo = tab.page.locator("#undo")
        await tab.ask("a question")
        await tab.answered()
        await expect(undo).to_have_count(0)
        await tab.page.click("#clear")
        await expect(tab.transcript).to_contain_text("Ask about a picture")
        await expect(undo).to_be_in_viewport()
        await tab.page.screenshot(path=tmp_path / f"undo-{size[0]}.png")
        await undo.click()
        await expect(tab.answers.last).to_contain_text("a question")
        await expect(undo).to_have_count(0)
        await tab.page.click("#clear")
        await tab.ask("another")
        await tab.answered()
        await expect(undo).to_have_count(0)
        await tab.page.go_back()
        await expect(tab.answers.last).to_contain_text("a question")


async def test_a_question_during_an_answer_stays_and_escape_stops(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo", delay_s=0.05)
    async with opened(browser, stack.page, size) as tab:
        answers: list[int] = []
        tab.page.on("response", lambda response: answers.append(response.status))
        await expect(tab.model).to_have_value("echo")
        await tab.ask(LONG)
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        await tab.ask("and then?")
        card = tab.transcript.locator(".card.error")
        await expect(card).to_contain_text("with Esc")
        await expect(card).to_be_in_viewport()
        await expect(tab.textbox).to_have_value("and then?")
        await tab.page.screenshot(path=tmp_path / f"early-{size[0]}.png")
        await tab.textbox.press("Escape")
        await expect(tab.answers.last).to_contain_text("Stopped.")
        await tab.answered()
        await expect(card).to_have_count(0)
        await tab.textbox.press("Enter")
        await expect(tab.answers).to_have_count(2)
        await tab.answered(2)
        assert [status for status in answers if status >= 400] == []


async def test_votes_on_old_answers_are_taken_and_change(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        for number, question in enumerate(("one", "two"), start=1):
            await tab.ask(question)
            await tab.answered(number)
        first = tab.answers.first
        for kind in ("up", "down"):
            await first.locator(f"[data-vote={kind}]").click()
            await expect(first.locator(f"[data-vote={kind}]")).to_have_attribute(
                "aria-pressed", "true"
            )
        await expect(first.locator("[data-vote=up]")).to_have_attribute("aria-pressed", "false")
        await expect(tab.answers.last.locator("[aria-pressed=true]")).to_have_count(0)
        await tab.page.screenshot(path=tmp_path / f"votes-{size[0]}.png")
    (conversation,) = map(json.loads, export.lines(stack.store))
    votes = [(vote["kind"], vote["turn"], vote["counts"]) for vote in conversation["votes"]]
    answered = conversation["turns"][1]["id"]
    assert votes == [("up", answered, False), ("down", answered, True)]
