"""A reload, a closed tab, a server that dies: the conversation, the draft and the answer are there.

Each at the width of a desk and of a phone.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, TOKEN, Stack, page_served
from tests.ports import free_port
from tests.until import bounded

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]

MUCH = " ".join(f"word{n}" for n in range(60))
LONG = " ".join(f"word{n}" for n in range(2000))


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of its own, that can be killed."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def page_arguments(port: int, controller: str, state_dir: Path) -> list[str]:
    flags = {"--port": str(port), "--controller": controller, "--state-dir": str(state_dir)}
    return [
        "-m",
        "llava_serve.gradio_web_server",
        *[part for pair in flags.items() for part in pair],
    ]


async def listens(port: int) -> None:
    """Wait until somebody does."""
    async with bounded("the page's process"):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def reloaded(tab: Tab) -> None:
    await tab.page.reload()
    await expect(tab.model).not_to_have_value("")


async def test_a_reload_brings_everything_back(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    for model in ("first", "second"):
        await stack.join(model)
    async with opened(browser, stack.page + "/?model=second", size) as tab:
        await expect(tab.model).to_have_value("second")
        await tab.open_parameters()
        await tab.page.get_by_label("Max tokens").first.fill("77")
        await tab.page.get_by_label("Seed").first.fill("5")
        await tab.page.get_by_text("Parameters", exact=True).first.click()
        await tab.ask("What is this?", shapes)
        await tab.answered()
        await tab.answers.last.locator("[data-vote=down]").click()
        chooser = tab.composer.locator("input[type=file]")
        await chooser.set_input_files([shapes])
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        await tab.textbox.fill("a draft")
        await expect(tab.page).to_have_url(re.compile(r"\?model=second&chat=[0-9a-f]{32}$"))

        await reloaded(tab)
        await tab.answered()
        await expect(tab.answers.last).to_contain_text("[1 picture: 320x240] What is this?")
        await expect(tab.transcript.locator(".turn.user img")).to_have_js_property(
            "naturalWidth", 320
        )
        await expect(tab.answers.last.locator(".model")).to_have_text("second")
        vote = tab.answers.last.locator("[data-vote=down]")
        await expect(vote).to_have_attribute("aria-pressed", "true")
        await expect(tab.textbox).to_have_value("a draft")
        await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
        await expect(tab.model).to_have_value("second")
        await tab.open_parameters()
        await expect(tab.page.get_by_label("Max tokens").first).to_have_value("77")
        await expect(tab.page.get_by_label("Seed").first).to_have_value("5")
        await tab.page.screenshot(path=tmp_path / f"back-{size[0]}.png")
        await tab.textbox.press("Enter")
        await expect(tab.answers).to_have_count(2)
        await expect(tab.answers.last).to_contain_text("[2 pictures: 320x240, 320x240] a draft")


async def test_a_comparison_comes_back(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for model in ("first", "second"):
        await stack.join(model)
    async with opened(browser, stack.page, size) as tab:
        await tab.compare()
        await expect(tab.page.locator("#compare-status")).to_contain_text("2 models are served")
        await tab.ask("which?")
        await tab.answered(2)
        await tab.page.click("#better-B")
        await expect(tab.transcript).to_contain_text("You found second better.")
        await tab.page.reload()
        await tab.compare()
        await tab.answered(2)
        await expect(tab.transcript).to_contain_text("You found second better.")
        await tab.page.click("#better-A")
        await expect(tab.transcript).to_contain_text("You found first better.")


async def test_an_answer_goes_on_through_a_reload_and_can_be_stopped(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    engine = await stack.join("echo", delay_s=0.05)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.ask(LONG)
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        await reloaded(tab)
        assert engine.running == 1
        text = tab.answers.last.locator(".text")
        await expect(text).to_contain_text("word30")
        await tab.page.screenshot(path=tmp_path / f"growing-{size[0]}.png")
        await tab.textbox.press("Escape")
        await expect(tab.answers.last).to_contain_text("Stopped.")
        await tab.answered()
        await engine.idle.wait()
        facts = tab.answers.last.locator(".facts")
        for fact in ("first token", "tokens/s", "tokens in", "out"):
            await expect(facts).to_contain_text(fact)
        await expect(tab.page.locator(".budget")).to_contain_text("tokens used")


async def test_a_closed_tab_is_opened_again_with_its_draft(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo", delay_s=0.02)
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.ask(MUCH)
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        await tab.textbox.fill("what I wanted next")
        url = tab.page.url
        await tab.page.close()
        again = await tab.another()
        await again.page.goto(url)
        await expect(again.answers.last.locator(".text")).to_contain_text("word59")
        await again.answered()
        await expect(again.textbox).to_have_value("what I wanted next")


async def test_what_was_sent_is_no_draft_of_the_next_tab(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.textbox.fill("typed and sent")
        await tab.page.wait_for_function("Object.values(sessionStorage).join().includes('typed')")
        await tab.textbox.press("Enter")
        await tab.answered()
        await tab.textbox.fill("of this one")
        await tab.page.wait_for_function("Object.values(localStorage).join().includes('of this')")
        other = await tab.another()
        await other.page.goto(stack.page)
        await expect(other.model).to_have_value("echo")
        await expect(other.transcript).to_contain_text("Ask about a picture")
        await expect(other.textbox).to_have_value("")


async def test_two_tabs_show_one_conversation(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as one:
        await expect(one.model).to_have_value("echo")
        await one.ask("first")
        await one.answered()
        other = await one.another()
        await other.page.goto(one.page.url)
        await other.answered()
        await other.ask("second")
        await other.answered(2)
        await one.answered(2)
        await expect(one.answers.last).to_contain_text("second")


async def test_a_page_whose_server_is_killed_goes_on_with_what_was_kept(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo", delay_s=0.05)
    port = free_port()
    url, arguments = f"http://127.0.0.1:{port}", page_arguments(port, stack.controller, tmp_path)
    async with program(*arguments) as process:
        context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
        tab = Tab(await context.new_page(), [])
        await listens(port)
        await tab.page.goto(url)
        await expect(tab.model).to_have_value("echo")
        await tab.ask(LONG)
        await expect(tab.answers.last.locator(".text")).to_contain_text("word90")
        await tab.textbox.fill("a draft")
        process.send_signal(signal.SIGKILL)
        await expect(tab.page.locator("#chat-link")).to_contain_text("does not answer")
        await process.wait()
    async with program(*arguments):
        await expect(tab.answers.last.locator(".card.error")).to_contain_text(
            "stopped in the middle"
        )
        await expect(tab.answers.last.locator(".text")).to_contain_text("word10")
        await expect(tab.textbox).to_have_value("a draft")
        await expect(tab.page.locator("#again")).to_contain_text("Retry")
        await tab.page.screenshot(path=tmp_path / f"interrupted-{size[0]}.png")
        await tab.textbox.fill("next")
        await tab.textbox.press("Enter")
        await expect(tab.answers.last.locator(".text")).to_contain_text("next")
        await tab.page.reload()
        await expect(tab.answers).to_have_count(2)
        await context.close()


async def test_a_controller_that_is_killed_is_told_and_the_text_stays(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "cluster-token").write_text(TOKEN)
    (tmp_path / "cluster-token").chmod(0o600)
    port, state = free_port(), str(tmp_path)
    controller = ["-m", "llava_serve.controller", "--port", str(port), "--state-dir", state]
    worker = [str(Path(__file__).with_name("slow_worker.py")), "echo", str(free_port())]
    async with (
        program(*controller) as process,
        program(*worker, f"http://127.0.0.1:{port}", state, "0.05"),
        page_served(f"http://127.0.0.1:{port}", tmp_path) as (page, _),
        opened(browser, page, size) as tab,
    ):
        await expect(tab.model).to_have_value("echo")
        await tab.ask(LONG)
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        os.kill(process.pid, signal.SIGKILL)
        card = tab.answers.last.locator(".card.error")
        await expect(card).to_contain_text("lost in mid-answer")
        await expect(card).to_contain_text("ask again")
        await expect(card).to_be_in_viewport()
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        await expect(tab.page.locator("#again")).to_contain_text("Retry")
        await expect(tab.page.locator("#again")).to_be_enabled()
        await expect(tab.page.locator("#continue")).to_be_enabled()
        await tab.page.screenshot(path=tmp_path / f"controller-{size[0]}.png")
