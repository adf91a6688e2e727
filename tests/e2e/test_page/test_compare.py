"""The comparison in a real browser."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from llava_serve.storage import export
from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


@SIZES
async def test_two_models_answer_at_the_same_time_and_stop_together(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    engines = [await stack.join(model, delay_s=0.2) for model in ("one", "two")]
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask("how many " + " ".join(f"word{n}" for n in range(300)), shapes)
        for slot in range(2):
            await expect(tab.answers.nth(slot)).to_contain_text("[1 picture: 320x240] how")
        assert [engine.running for engine in engines] == [1, 1]
        await tab.stop_button.click()
        await tab.answered(2)
        assert [engine.running for engine in engines] == [0, 0]
        await expect(tab.answers.nth(1)).to_contain_text("Stopped.")


@SIZES
async def test_each_answer_has_its_measurements_and_the_vote_is_kept(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    await stack.join("one", delay_s=0.01)
    await stack.join("two", delay_s=0.02)
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        much = " ".join(f"word{n}" for n in range(60))
        await tab.ask(f"how many shapes are there? {much}", shapes)
        await tab.answered(2)
        for slot, model in enumerate(("one", "two")):
            await expect(tab.answers.nth(slot).locator(".model")).to_contain_text(model)
            facts = tab.answers.nth(slot).locator(".facts")
            for fact in ("first token", "tokens/s", "tokens in", "out"):
                await expect(facts).to_contain_text(fact)
        await tab.page.click("#better-B")
        await expect(tab.transcript).to_contain_text("You found two better.")
        assert tab.foreign == []
    (conversation,) = map(json.loads, export.lines(stack.store))
    assert conversation["kind"] == "compare"
    assert [turn["model"] for turn in conversation["turns"]] == [None, "one", "two"]
    (vote,) = conversation["votes"]
    assert (vote["kind"], vote["model"]) == ("better", "two")


@SIZES
async def test_one_model_that_fails_does_not_disturb_the_other(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("able")
    await stack.join("broken")
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await stack.crash("broken")
        await tab.ask("is anybody there?")
        await tab.answered(2)
        await expect(tab.answers.nth(0).locator(".text")).to_have_text("is anybody there?")
        await expect(tab.answers.nth(1).locator(".card.error")).to_contain_text("worker")


@SIZES
async def test_fewer_than_two_models_are_refused_with_a_card(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("alone")
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("1 model is served")
        await tab.ask("hello")
        card = tab.transcript.locator(".card.error")
        await expect(card).to_contain_text("a comparison takes two to six")


async def test_a_tab_that_is_first_seen_does_not_call_the_server_lost(
    browser: Browser, stack: Stack
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.page.evaluate(
            """() => {
              window.lost = 0;
              new MutationObserver(() => {
                if (document.body.textContent.includes('does not answer')) window.lost += 1;
              }).observe(document.body, {childList: true, subtree: true});
            }"""
        )
        await tab.compare()
        await expect(tab.transcript).to_contain_text("Choose two to six models")
        assert await tab.page.evaluate("window.lost") == 0


@SIZES
async def test_the_page_opens_where_its_address_leads_and_where_it_was_left(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for model in ("one", "two"):
        await stack.join(model)
    async with opened(browser, stack.page, size) as tab:
        chat, compare = (tab.page.get_by_role("tab", name=name) for name in ("Chat", "Compare"))
        await compare.click()
        tab.name = "compare"
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask("hello")
        await tab.answered(2)
        await expect(tab.page).to_have_url(re.compile(r"\?compare=[0-9a-f]{32}$"))
        address = tab.page.url
        await tab.page.reload()
        await expect(compare).to_have_attribute("aria-selected", "true")
        await expect(tab.answers.nth(1)).to_be_visible()
        await chat.click()
        tab.name = "chat"
        await tab.ask("hello")
        await tab.answered()
        await tab.page.reload()
        await expect(tab.answers.last).to_be_visible()
        await expect(chat).to_have_attribute("aria-selected", "true")
    async with opened(browser, address) as tab:
        await expect(tab.page.locator("#compare-transcript .turn.assistant").nth(1)).to_be_visible()


PLACE = """
box => {
  const top = box.getBoundingClientRect().top;
  const [first] = [...box.querySelectorAll('.turn.user')].at(-1).parentElement
    .querySelectorAll('.turn.assistant');
  const below = box.scrollHeight - box.clientHeight - box.scrollTop;
  return [first.getBoundingClientRect().top - top, below];
}
"""


async def test_answers_below_each_other_are_followed_at_the_first(
    browser: Browser, stack: Stack
) -> None:
    """On a phone, where the end of the transcript is the end of another answer."""
    await stack.join("one", delay_s=0.01)
    await stack.join("two", delay_s=0.01)
    words = " ".join(f"word{n}" for n in range(90))
    async with opened(browser, stack.page, (390, 844)) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        for asked in (1, 2):
            await tab.ask(words)
            await expect(tab.answers.nth(2 * asked - 1)).to_contain_text("word10")
            await tab.answered(2 * asked)
            top, below = await tab.transcript.evaluate(PLACE)
            assert 0 <= top < 30 and below > 200
            # Who has read to the end and asks from there is brought to the first answer again.
            await tab.transcript.evaluate("box => box.scrollTo(0, box.scrollHeight)")
        await tab.page.click("#better-B")
        await expect(tab.transcript).to_contain_text("You found two better.")
        _, below = await tab.transcript.evaluate(PLACE)
        assert below < 2  # and who reads at the end stays there


async def test_answers_beside_each_other_are_followed_to_their_end(
    browser: Browser, stack: Stack
) -> None:
    await stack.join("one", delay_s=0.01)
    await stack.join("two", delay_s=0.01)
    async with opened(browser, stack.page) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask(" ".join(f"word{n}" for n in range(300)))
        await tab.answered(2)
        top, below = await tab.transcript.evaluate(PLACE)
        assert top < 0 and below < 2
