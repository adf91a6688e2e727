"""What the model saw is on the page: tiles, frames, the prompt and the context, for each answer."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from llava_serve import tiny
from llava_serve.cluster_token import bearer
from llava_serve.errors import InspectionUnsupported
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.inspection import Inspection
from llava_serve.request import InspectRequest
from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, TOKEN, Stack, WatchedEcho
from tests.e2e.test_page.test_accessibility import themes, violations
from tests.ports import free_port
from tests.until import bounded

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def worker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a process with the checkpoint that ships; it joins no cluster itself."""
    state, port = tmp_path_factory.mktemp("worker"), str(free_port())
    (state / "cluster-token").write_text(TOKEN)
    (state / "cluster-token").chmod(0o600)
    flags = ["--port", port, "--state-dir", str(state), "--no-register"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llava_serve.model_worker", *flags
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@pytest_asyncio.fixture(loop_scope="session")
async def seeing(stack: Stack, worker: str) -> Stack:
    """A stack whose only model is the checkpoint that ships."""
    async with bounded("the worker"), aiohttp.ClientSession(trust_env=False) as session:
        status = None
        while status is None:
            try:
                url, headers = f"{worker}/worker_get_status", bearer(TOKEN)
                async with session.post(url, headers=headers) as answer:
                    status = WorkerStatus.model_validate(await answer.json())
            except aiohttp.ClientConnectionError:  # its model is being loaded
                await asyncio.sleep(0.1)
    now = asyncio.get_running_loop().time()
    stack.registry.register(worker, status, now, expires=False)
    return stack


async def check(tab: Tab) -> None:
    """The dialog lies in the window, nothing of it is cut off, and axe-core finds nothing."""
    width, inner, window = await tab.page.locator("#saw").evaluate(
        "box => [box.getBoundingClientRect().right, box.scrollWidth - box.clientWidth, innerWidth]"
    )
    assert width <= window and inner <= 0
    assert await violations(tab, "#saw") == []


@SIZES
async def test_tiles_frames_prompt_and_context_of_an_answer(
    browser: Browser, seeing: Stack, size: tuple[int, int]
) -> None:
    async with opened(browser, seeing.page, size) as tab:
        await expect(tab.model).not_to_have_value("")
        await tab.ask("Where is the black cross?", tiny.EXAMPLES / "tall.png")
        await tab.answered()
        await tab.ask("What moves?", tiny.EXAMPLES / "moving-star.gif")
        await tab.answered(2)
        panel, first = tab.page.locator("#saw"), tab.answers.first.locator("[data-inspect]")
        await first.focus()
        await tab.page.keyboard.press("Enter")
        await expect(panel.locator(".over .edge")).to_have_count(3)
        await expect(panel.locator(".strip figure")).to_have_count(4)
        await expect(panel.locator(".strip figure").first).to_contain_text("Overview")
        await expect(panel.locator("dl")).to_contain_text("240 \N{MULTIPLICATION SIGN} 560")
        await expect(panel.locator("mark")).to_have_text(["Picture 1, 226 tokens"])
        await expect(panel.locator(".prompt .text")).to_have_text(["Where is the black cross?"])
        await expect(panel).to_contain_text("of 4,096 tokens of the context")
        facts = panel.locator("details.seen dl")
        for fact in ("Upright", "Scaled to", "Cut into", "Padding", "Cropped away", "Features"):
            await expect(facts.locator("dt", has_text=fact)).to_be_visible()
        for part in ("Pictures and videos", "Questions", "Template"):
            await expect(panel.locator(".legend li", has_text=part)).to_be_visible()
        image = panel.locator(".over img")
        assert await image.evaluate("one => one.complete && one.naturalWidth") == 240
        async for _ in themes(tab):
            await check(tab)
        await tab.page.keyboard.press("Escape")
        await expect(panel).to_be_hidden()
        await expect(first).to_be_focused()

        await tab.answers.last.locator("[data-inspect]").click()
        await expect(panel.locator("details.seen")).to_have_count(2)
        await expect(panel).to_contain_text("Reused from the cache for this answer")
        await expect(panel.locator("details.seen[open] .strip img")).to_have_count(8)
        await expect(panel.locator("details.seen[open] figcaption").last).to_contain_text("1.8")
        async for _ in themes(tab):
            await check(tab)
        await panel.locator(".close").click()
        await expect(panel).to_be_hidden()


@SIZES
async def test_each_answer_of_a_comparison_has_its_own(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    for model in ("one", "two"):
        await stack.join(model)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models are served")
        await tab.compare()
        await tab.ask("hello", shapes)
        await tab.answered(2)
        await stack.crash("two")
        panel = tab.page.locator("#saw")
        await tab.answers.nth(0).locator("[data-inspect]").click()
        await expect(panel.locator(".prompt")).to_contain_text("hello")
        await tab.page.keyboard.press("Escape")
        await tab.answers.nth(1).locator("[data-inspect]").click()
        await expect(panel.locator(".saw-told")).not_to_have_text("Asking the worker …")
        await expect(panel.locator(".saw-told")).to_be_visible()
        await expect(panel.locator(".prompt")).to_have_count(0)
        await check(tab)


@SIZES
async def test_esc_closes_the_panel_and_stops_no_answer(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    engine = await stack.join("echo", delay_s=0.05)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.ask("first")
        await tab.answered()
        await tab.ask(" ".join(f"word{n}" for n in range(400)))
        await expect(tab.answers.last).to_contain_text("word3")
        await tab.answers.first.locator("[data-inspect]").click()
        await expect(tab.page.locator("#saw .prompt")).to_be_visible()
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.locator("#saw")).to_be_hidden()
        assert not engine.idle.is_set()
        await tab.stop_button.click()
        await engine.idle.wait()


@SIZES
async def test_a_draft_says_what_it_costs_before_it_is_sent(
    browser: Browser, seeing: Stack, size: tuple[int, int]
) -> None:
    async with opened(browser, seeing.page, size) as tab:
        await expect(tab.model).not_to_have_value("")
        cost, used = tab.page.locator("#chat-cost"), tab.page.locator("#chat-tab .budget")
        await tab.textbox.fill("Where is it?")
        await expect(cost).to_have_text("Text: about 3 tokens · 4,093 of 4,096 left")
        await expect(used).to_be_hidden()
        await tab.composer.locator("input[type=file]").set_input_files(tiny.EXAMPLES / "tall.png")
        await expect(cost).to_contain_text("Picture: 226 tokens · text: about 3")
        await expect(cost).to_be_in_viewport()
        inner = await cost.evaluate("line => [line.scrollWidth, line.clientWidth]")
        assert inner[0] <= inner[1]
        description = await tab.textbox.get_attribute("aria-describedby")
        await expect(tab.page.locator(f"#{description}")).to_contain_text("Picture: 226 tokens")
        await tab.textbox.press("Enter")
        await tab.answered()
        await expect(cost).to_be_hidden()
        await expect(used).to_contain_text("of 4,096 tokens used")
        await tab.textbox.fill("word " * 4000)
        await expect(cost).to_contain_text("too long by about")


@SIZES
async def test_a_draft_of_unknown_cost_says_nothing_and_is_sent(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    class Silent(WatchedEcho):
        async def inspect(self, request: InspectRequest) -> Inspection:
            asked.set()
            raise InspectionUnsupported(self.card.id)

    asked = asyncio.Event()
    await stack.join_with(Silent("silent", 0.0))
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("silent")
        await tab.textbox.fill("hello")
        await expect(tab.page.locator("#chat-cost")).to_contain_text("of 4,096 left")
        await tab.composer.locator("input[type=file]").set_input_files(shapes)
        await asked.wait()
        await expect(tab.page.locator("#chat-cost")).to_be_hidden()
        await expect(tab.page.locator(".card.error")).to_have_count(0)
        await tab.textbox.press("Enter")
        await tab.answered()
        await tab.answers.last.locator("[data-inspect]").click()
        await expect(tab.page.locator("#saw .cannot")).to_contain_text("cannot be shown")
        await check(tab)


@SIZES
async def test_tokens_show_how_sure_the_model_was(
    browser: Browser, seeing: Stack, size: tuple[int, int]
) -> None:
    async with opened(browser, seeing.page, size) as tab:
        await expect(tab.model).not_to_have_value("")
        await tab.open_parameters()
        wish = tab.page.get_by_role("checkbox", name="Token probabilities")
        await expect(wish).not_to_be_checked()
        await wish.check()
        await tab.page.get_by_text("Parameters", exact=True).first.click()
        await tab.ask("What color is the circle?", tiny.EXAMPLES / "red-circle.png")
        await tab.answered()
        text, tokens = tab.answers.last.locator(".text"), tab.answers.last.locator(".tokens")
        said, tip = await text.inner_text(), tab.page.locator("#token-tip")
        await tab.answers.last.locator("[data-tokens]").click()
        await expect(tokens).to_have_text(said)
        await expect(text).to_be_hidden()

        await tokens.get_by_role("option").nth(2).hover()
        await expect(tip.locator("div")).to_have_count(5)
        await expect(tip).to_be_in_viewport()
        await tab.page.mouse.move(0, 0)
        await expect(tip).to_be_hidden()
        await tab.answers.last.locator("[data-inspect]").focus()
        for _ in range(4):  # past the votes
            await tab.page.keyboard.press("Tab")
        await expect(tokens).to_be_focused()
        await tab.page.keyboard.press("ArrowRight")
        chosen = tokens.locator("[aria-selected=true]")
        await expect(chosen).to_have_attribute("aria-label", re.compile(r"The likeliest here"))
        await tab.page.keyboard.press("End")
        await expect(chosen).to_have_text(".")
        await expect(tip).to_be_in_viewport()
        async for _ in themes(tab):
            assert await violations(tab, ".token-view") == []
        await tab.page.keyboard.press("Escape")
        await expect(tip).to_be_hidden()

        await tab.answers.last.locator("[data-vote=up]").click()  # the answer is drawn anew
        pressed = tab.answers.last.locator("[data-vote=up]")
        await expect(pressed).to_have_attribute("aria-pressed", "true")
        await expect(tokens).to_be_visible()
        await tab.answers.last.locator("[data-tokens]").click()
        await expect(text).to_be_visible()
        await tab.page.reload()
        await tab.answers.last.locator("[data-tokens]").click()
        await expect(tokens).to_have_text(said)
        await tab.open_parameters()
        await expect(wish).to_be_checked()
