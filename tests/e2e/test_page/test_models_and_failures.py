"""Models that come and go, workers that die, and browsers that do not know of each other."""

import asyncio
import os
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

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

LONG = "tell me " + " ".join(f"word{n}" for n in range(400))


@asynccontextmanager
async def worker_process(stack: Stack, state_dir: Path, model: str) -> AsyncIterator[int]:
    """A worker in a process of its own; yields the process id."""
    (state_dir / "cluster-token").write_text(TOKEN)
    (state_dir / "cluster-token").chmod(0o600)
    program = Path(__file__).with_name("slow_worker.py")
    port = str(free_port())
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), model, port, stack.controller, str(state_dir), "0.05"
    )
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_without_a_controller_the_page_opens_and_says_what_to_do(
    browser: Browser, tmp_path: Path
) -> None:
    async with (
        page_served("http://127.0.0.1:9", tmp_path) as (address, _),
        opened(browser, address) as tab,
    ):
        status = tab.page.locator("#chat-status")
        await expect(status).to_contain_text("The page cannot reach the models")
        await expect(status).not_to_contain_text("http")
        await tab.ask("hello")
        await expect(tab.transcript.locator(".card.error")).to_contain_text(
            "controller_unreachable"
        )
        await expect(tab.textbox).to_have_value("hello")


async def test_models_appear_and_disappear_without_a_reload(browser: Browser, stack: Stack) -> None:
    async with opened(browser, stack.page) as tab:
        await expect(tab.page.locator("#chat-status")).to_contain_text("No model is served yet.")
        await stack.join("first")
        await expect(tab.model).to_have_value("first")
        await stack.join("second")
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models are served")
        stack.leave("first")
        await expect(tab.model).to_have_value("second")
        status = tab.page.locator("#chat-status")
        await expect(status).to_contain_text("first is not served at the moment; second answers")
        await tab.ask("who?")
        await expect(tab.answers.last.locator(".model")).to_have_text("second")


async def test_the_address_names_the_model(browser: Browser, stack: Stack) -> None:
    await stack.join("first")
    await stack.join("second")
    async with opened(browser, stack.page + "/?model=second") as tab:
        await expect(tab.model).to_have_value("second")
        await tab.ask("hello")
        await expect(tab.answers.last.locator(".model")).to_have_text("second")


async def test_a_worker_that_dies_in_mid_answer_is_reported_and_the_text_stays(
    browser: Browser, stack: Stack, tmp_path: Path
) -> None:
    async with (
        worker_process(stack, tmp_path, "mortal") as pid,
        opened(browser, stack.page) as tab,
    ):
        await expect(tab.model).to_have_value("mortal")
        await tab.ask(LONG)
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        os.kill(pid, signal.SIGKILL)
        card = tab.answers.last.locator(".card.error")
        await expect(card).to_contain_text("stopped in the middle of its answer")
        await expect(card).to_contain_text("ask again")
        await expect(card).to_contain_text("worker_lost")
        await expect(card).to_contain_text("req-")
        await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
        await expect(tab.answers.last).to_contain_text("Interrupted")
        await expect(tab.page.locator("#continue")).to_be_visible()
        await expect(tab.page.locator("#again")).to_contain_text("Retry")


@SIZES
async def test_two_browsers_know_nothing_of_each_other(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as one, opened(browser, stack.page, size) as two:
        await expect(one.model).to_have_value("echo")
        await expect(two.model).to_have_value("echo")
        await one.ask("a secret")
        await expect(one.answers.last).to_contain_text("a secret")
        await two.ask("a question")
        await expect(two.answers.last).to_contain_text("a question")
        await expect(two.transcript).not_to_contain_text("a secret")
        await expect(one.transcript).not_to_contain_text("a question")


async def test_a_drop_that_is_too_large_is_refused_with_a_reason(tab: Tab, shapes: Path) -> None:
    files = [shapes.with_name(f"{number}.png") for number in range(3)]
    for file in files:
        file.write_bytes(shapes.read_bytes() + bytes(18_000_000))  # noqa: ASYNC240
    chooser = tab.page.locator("#chat-composer input[type=file]")
    await chooser.set_input_files(list(files))
    await expect(tab.page.locator(".refusals .card.error")).to_contain_text("larger than 50 MB")
    await tab.page.get_by_role("button", name="Go on without it").click()
    await tab.ask("hello")
    await tab.answered()


async def test_numbers_that_no_worker_takes_leave_the_tab_usable(tab: Tab) -> None:
    await tab.open_parameters()
    await tab.page.get_by_label("Max tokens").first.fill("0")
    await tab.page.get_by_label("number input for Temperature").first.fill("")
    await tab.ask("hello")
    await expect(tab.answers.last.locator(".card.error")).to_contain_text("Max_tokens")
    await tab.page.get_by_label("Max tokens").first.fill("")
    await tab.page.get_by_label("Seed").first.fill("seven")
    await tab.page.click("#again")
    await expect(tab.answers.last.locator(".card.error")).to_contain_text("Seed")
    await tab.page.get_by_label("Seed").first.fill("7")
    await tab.page.click("#again")
    await expect(tab.answers.last.locator(".text")).to_have_text("hello")
