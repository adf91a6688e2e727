"""A real Chromium, and a tab of it on the page."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import (
    Browser,
    Error as PlaywrightError,
    Locator,
    Page,
    TimeoutError as PlaywrightTimeout,
    async_playwright,
    expect,
)

from tests.until import bounded

expect.set_options(timeout=120_000)  # a busy machine is slow, not wrong
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=ARGUMENTS
            )
        except PlaywrightError as exc:
            pytest.fail(
                "no Chromium can be started: install the package `chromium`, or run "
                f"`python -m playwright install chromium`. {exc.message.splitlines()[0]}"
            )
        yield browser
        await browser.close()


class KeptChromium:
    """One Chromium for many tests; it is started again after a crash."""

    def __init__(self) -> None:
        self._life = AsyncExitStack()
        self._browser: Browser | None = None

    async def running(self) -> Browser:
        if self._browser is None or not self._browser.is_connected():
            await self.close()
            self._browser = await self._life.enter_async_context(chromium())
        return self._browser

    async def close(self) -> None:
        await self._life.aclose()


@dataclass
class Tab:
    """One browser tab on the page; `name` is `chat` or `compare`."""

    page: Page
    foreign: list[str]
    name: str = "chat"

    async def ask(self, text: str, *files: Path) -> None:
        if files:
            chooser = self.page.locator(f"#{self.name}-composer input[type=file]")
            await chooser.set_input_files(list(files))
            await expect(self.composer.locator(".thumbnail-item")).to_have_count(len(files))
        await self.textbox.fill(text)
        await self.textbox.press("Enter")

    async def compare(self) -> None:
        await self.page.get_by_role("tab", name="Compare").click()
        self.name = "compare"

    @property
    def composer(self) -> Locator:
        return self.page.locator(f"#{self.name}-composer")

    @property
    def textbox(self) -> Locator:
        return self.composer.locator("textarea")

    @property
    def transcript(self) -> Locator:
        return self.page.locator(f"#{self.name}-transcript")

    @property
    def answers(self) -> Locator:
        return self.transcript.locator(".turn.assistant")

    @property
    def model(self) -> Locator:
        return self.page.locator("#chat-model input")

    @property
    def stop_button(self) -> Locator:
        return self.composer.locator("button.stop-button")

    async def open_parameters(self) -> None:
        """Click again where the page has not come to life at the first click."""
        shown = self.page.get_by_label("Max tokens").locator("visible=true").first
        async with bounded("the parameters"):
            while not await shown.is_visible():
                toggle = self.page.get_by_text("Parameters", exact=True)
                await toggle.locator("visible=true").click()
                with suppress(PlaywrightTimeout):
                    await shown.wait_for(timeout=5_000)

    async def answered(self, count: int = 1) -> None:
        """Wait until `count` answers have ended and the next question may be asked."""
        ended = self.page.locator(f"#{self.name}-history .turn.assistant")
        await expect(ended).to_have_count(count)
        await expect(self.composer.locator("button.submit-button")).to_be_visible()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, size: tuple[int, int] = (1280, 800)
) -> AsyncIterator[Tab]:
    """Open a tab of its own context; `size` is (width, height)."""
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.set_default_timeout(120_000)
    page = await context.new_page()
    foreign: list[str] = []
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
            else foreign.append(request.url)
        ),
    )
    try:
        await page.goto(url)
        yield Tab(page, foreign)
    finally:
        await context.close()
