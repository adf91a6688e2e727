"""Each error of the page is in sight as it happens, at the width of a desk and of a phone."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack, page_served

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

Size = tuple[int, int]
MANY_WORDS = "tell me " + " ".join(f"word{n}" for n in range(400))
# What a slow machine does to the newest answers: a change before the scrolling is known as such,
# and an answer that grows and ends without a moment of quiet.
ADD_ANSWERS = """
([text, changesAtOnce]) => {
  const exchange = document.createElement('div');
  exchange.className = 'exchange';
  exchange.innerHTML = `<div class="turn user">hello</div>
    <div class="turn assistant"><div class="card error">the new error</div></div>
    <div class="turn assistant able"><div class="text"></div></div>`;
  exchange.querySelector('.text').textContent = text;
  document.querySelector('#compare-history').append(exchange);
  const card = exchange.querySelector('.card'), scroll = card.scrollIntoView.bind(card);
  window.pointed = 0;
  card.scrollIntoView = (where) => {
    scroll(where);
    window.pointed++;
    if (changesAtOnce) exchange.append('.');
  };
}
"""
GROW = """
(text) => { document.querySelector('.able .text').textContent = text; }
"""


async def check(tab: Tab, card: Locator, *said: str) -> None:
    """The whole card is in sight, and so is the box for questions below it."""
    for text in said:
        await expect(card).to_contain_text(text)
    await expect(card).to_be_in_viewport(ratio=1)
    await expect(tab.textbox).to_be_in_viewport(ratio=1)
    await expect(card).not_to_contain_text("http://")


def many_examples(folder: Path, image: Path) -> Path:
    """More examples than a window shows; return the page's folder."""
    (folder / "examples").mkdir(parents=True)
    shutil.copy(image, folder / "examples")
    row = {"files": [image.name], "question": "How many shapes are there?", "answer": "Two."}
    (folder / "examples" / "examples.json").write_text(json.dumps([row] * 24))
    return folder


@SIZES
async def test_without_a_worker_above_examples_that_fill_the_window(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: Size
) -> None:
    folder = many_examples(tmp_path / "other", shapes)
    async with (
        page_served(stack.controller, folder) as (page, _),
        opened(browser, page, size) as tab,
    ):
        await expect(tab.transcript.locator(".example")).to_have_count(24)
        await expect(tab.page.locator("#chat-status")).to_contain_text("No model is served yet")
        await tab.ask("hello")
        card = tab.transcript.locator(".card.error")
        await check(tab, card, "The model is not available at the moment", "no_worker")


@SIZES
async def test_without_a_controller(
    browser: Browser, shapes: Path, tmp_path: Path, size: Size
) -> None:
    folder = many_examples(tmp_path / "other", shapes)
    async with (
        page_served("http://127.0.0.1:9", folder) as (page, _),
        opened(browser, page, size) as tab,
    ):
        status = tab.page.locator("#chat-status")
        await expect(status).to_contain_text("The page cannot reach the models")
        await expect(status).to_be_in_viewport(ratio=1)
        await tab.ask("hello")
        await check(tab, tab.transcript.locator(".card.error"), "controller_unreachable")


@SIZES
async def test_a_worker_that_is_gone_and_an_image_that_is_damaged(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: Size
) -> None:
    await stack.join("echo", delay_s=0.0)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(shapes.read_bytes()[:60])  # noqa: ASYNC240
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.ask(MANY_WORDS)
        await tab.answered(1)
        await tab.ask("what is this?", damaged)
        await tab.answered(2)
        await check(tab, tab.answers.last.locator(".card.error"), "media_unreadable")
        await stack.crash("echo")
        await tab.ask("are you there?")
        await tab.answered(3)
        await check(tab, tab.answers.last.locator(".card.error"), "The model")


@SIZES
async def test_one_of_two_models_fails_above_the_other_that_talks(
    browser: Browser, stack: Stack, size: Size
) -> None:
    await stack.join("a-broken", delay_s=0.0)
    await stack.join("b-able", delay_s=0.0)
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await stack.crash("a-broken")
        await tab.ask(MANY_WORDS)
        await tab.answered(2)
        await check(tab, tab.transcript.locator(".card.error"), "The model")


@SIZES
@pytest.mark.parametrize("changes_at_once", [True, False])
async def test_no_late_change_moves_an_error_out_of_sight(
    browser: Browser, stack: Stack, size: Size, changes_at_once: bool
) -> None:
    await stack.join("a")
    await stack.join("b")
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask("hello")
        await tab.answered(2)
        first = MANY_WORDS * 9 if changes_at_once else ""
        await tab.page.evaluate(ADD_ANSWERS, [first, changes_at_once])
        await tab.page.wait_for_function("window.pointed > 0")
        if not changes_at_once:
            await tab.page.evaluate(GROW, MANY_WORDS * 9)
            await tab.page.wait_for_function("window.pointed > 1")
        card = tab.transcript.locator(".card.error")
        await check(tab, card, "the new error")


@SIZES
async def test_too_few_models_for_a_comparison(browser: Browser, stack: Stack, size: Size) -> None:
    await stack.join("alone")
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("1 model is served")
        await tab.ask("hello")
        await check(tab, tab.transcript.locator(".card.error"), "a comparison takes two to six")


@SIZES
async def test_what_is_told_in_passing(browser: Browser, stack: Stack, size: Size) -> None:
    """Gradio shows nothing of an event that fails outside its queue."""
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.ask("hello")
        await tab.answered()
        refused: list[int] = []
        tab.page.on("response", lambda answer: refused.append(answer.status))
        await tab.textbox.fill("a draft")
        await tab.transcript.locator("[data-edit]").click()
        card = tab.page.locator(".told .card.error")
        await check(tab, card, "Send or delete what you have typed")
        await tab.textbox.press("End")
        await expect(card).to_have_count(0)
        assert [status for status in refused if status >= 400] == []
        await tab.page.route("**/gradio_api/run/**", lambda route: route.abort())
        await tab.page.click("#clear")
        await check(tab, card, "The page cannot reach its server")


@SIZES
async def test_a_long_name_of_a_model_is_cut_and_whole_in_its_tip(
    browser: Browser, stack: Stack, size: Size
) -> None:
    name = "an-organisation/a-model-with-a-very-long-name-indeed-" * 3
    await stack.join(name)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value(name)
        await tab.model.hover()
        await expect(tab.model).to_have_attribute("title", name)
        await expect(tab.model).to_have_css("text-overflow", "ellipsis")
        await tab.ask("hello")
        await tab.answered()
        shown = tab.answers.last.locator(".model")
        await expect(shown).to_have_attribute("title", name)
        await expect(shown).to_have_css("text-overflow", "ellipsis")
        width, window = await tab.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert width <= window
