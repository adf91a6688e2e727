"""A real Chromium, and a tab of it on the page."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    Error as PlaywrightError,
    Locator,
    Page,
    TimeoutError as PlaywrightTimeout,
    async_playwright,
    expect,
)

from tests.until import bounded

expect.set_options(timeout=120_000)  # a busy machine is slow, not wrong
_KEPT = "http://127.0.0.1/kept"  # all ports of a host are one site, and so one process
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
    """One Chromium for many tests; it is started again after a crash.

    Its first context has a page of its own for as long as it runs, whose process `opened` tabs use.
    """

    def __init__(self) -> None:
        self._life = AsyncExitStack()
        self._browser: Browser | None = None

    async def running(self) -> Browser:
        if self._browser is None or not self._browser.is_connected():
            await self.close()
            self._browser = await self._life.enter_async_context(chromium())
            await _keep_process(self._browser)
        return self._browser

    async def close(self) -> None:
        await self._life.aclose()


async def boxes_of(within: Locator, *selectors: str) -> list[dict[str, float]]:
    """Return x, y, width and height of the first match of each selector, all of one moment.

    Boxes asked for one after the other do not compare while the page still moves.
    """
    found: list[dict[str, float]] = await within.evaluate(
        """(root, selectors) => selectors.map((selector) => {
          const { x, y, width, height } = root.querySelector(selector).getBoundingClientRect();
          return { x, y, width, height };
        })""",
        list(selectors),
    )
    return found


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

    async def another(self) -> "Tab":
        """Open an empty tab of the same size that shares this one's memory."""
        page, size = await self.page.context.new_page(), self.page.viewport_size
        assert size is not None
        await page.set_viewport_size(size)
        return Tab(page, self.foreign, self.name)

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


async def _keep_process(browser: Browser) -> None:
    """Show an empty page of the tests' site in a context that stays.

    Scripts that one page of a process has compiled need not be compiled for the next one there.
    """
    page = await (await browser.new_context()).new_page()
    await page.route(_KEPT, lambda route: route.fulfill(body="", content_type="text/html"))
    await page.goto(_KEPT)


@asynccontextmanager
async def _emptied(context: BrowserContext, kept: Page) -> AsyncIterator[Page]:
    """Open a page in the process of `kept`; leave neither it nor what it stored."""
    async with context.expect_page() as opening:
        await kept.evaluate("open('about:blank').opener = null")
    try:
        yield await opening.value
    finally:
        for page in context.pages:
            if page is not kept:
                await page.close()
        await context.clear_cookies()
        await context.clear_permissions()
        session = await context.new_cdp_session(kept)
        everything = {"origin": "*", "storageTypes": "all"}
        await session.send("Storage.clearDataForOrigin", everything)
        await session.send("Network.clearBrowserCache")
        await session.detach()


@asynccontextmanager
async def _new_page(browser: Browser) -> AsyncIterator[Page]:
    """A page with a memory of its own: in the kept process where nobody is, or in a new context."""
    for context in browser.contexts:
        if len(context.pages) == 1 and context.pages[0].url == _KEPT:
            async with _emptied(context, context.pages[0]) as page:
                yield page
            return
    context = await browser.new_context()
    try:
        yield await context.new_page()
    finally:
        await context.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, size: tuple[int, int] = (1280, 800)
) -> AsyncIterator[Tab]:
    """Open a tab that finds nothing of another's; `size` is (width, height)."""
    async with _new_page(browser) as page:
        page.context.set_default_timeout(120_000)
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        foreign: list[str] = []
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
                else foreign.append(request.url)
            ),
        )
        await page.goto(url)
        yield Tab(page, foreign)
