"""Tabs of a real Chromium: what they load, and when the words of a streamed answer are in them."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

from scripts.stamped_worker import TURN_MS, stamp

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_PATIENCE_MS = 300_000
# Each word is the time at which it left the worker; noted is when the page has it, and its age.
_RECORD = f"""
window.words = [];
const look = () => {{
  const now = Date.now() % {TURN_MS}, live = document.querySelector('#chat-live');
  const stamps = live?.textContent.match(/\\d{{7}}/g) ?? [];
  for (const stamp of stamps.slice(window.words.length)) {{
    window.words.push([now, (now - Number(stamp) + {TURN_MS}) % {TURN_MS}]);
  }}
}};
document.addEventListener('DOMContentLoaded', () => new MutationObserver(look).observe(
  document.body, {{childList: true, subtree: true, characterData: true}},
));
"""
_EMPTY = """<!doctype html><body><div id="chat-live"></div><script>
fetch('stream').then(async ({body}) => {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    document.querySelector('#chat-live').append(value);
  }
});
</script></body>"""

Word = tuple[int, int]
"""When a word was seen, as a stamp, and how many ms after it had left the worker."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=_ARGUMENTS
        )
        yield browser
        await browser.close()


async def new_tab(browser: Browser) -> Page:
    """Return an empty tab of a context of its own, as of another user."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(_PATIENCE_MS)
    return await context.new_page()


async def recording_tab(browser: Browser, address: str) -> Page:
    """Open an address in a tab that notes the words of an answer."""
    page = await new_tab(browser)
    await page.add_init_script(_RECORD)
    await page.goto(address)
    return page


async def ready(page: Page) -> None:
    """Wait until a question can be asked."""
    await page.wait_for_function("document.querySelector('#chat-model input')?.value")


async def ask(page: Page, question: str) -> None:
    """Send a question."""
    box = page.locator("#chat-composer textarea")
    await box.fill(question)
    await box.press("Enter")


async def words_of(page: Page) -> list[Word]:
    """Return what a recording tab has noted."""
    return [(now, age) for now, age in await page.evaluate("window.words")]


@asynccontextmanager
async def empty_page(rate: float) -> AsyncIterator[str]:
    """Serve a page that appends stamped words to nothing else, and yield its address."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=_EMPTY, content_type="text/html")

    async def stream(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        began, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        for at in range(10**6):
            await asyncio.sleep(began + at / rate - loop.time())
            await answer.write(f"{stamp():07} ".encode())
        return answer

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/stream", stream)])
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes that a browser without a cache receives: on the wire, and unpacked."""

    wire: int
    plain: int


async def weigh(browser: Browser, address: str, selector: str) -> Weight:
    """Load a page until it shows what a selector names and has been quiet for a while."""
    page = await new_tab(browser)
    session = await page.context.new_cdp_session(page)
    wire: list[int] = []
    plain: list[int] = []
    session.on("Network.loadingFinished", lambda told: wire.append(int(told["encodedDataLength"])))
    session.on("Network.dataReceived", lambda told: plain.append(int(told["dataLength"])))
    await session.send("Network.enable")
    await page.goto(address)
    await page.locator(selector).first.wait_for()
    count = -1
    while count < len(wire):
        count = len(wire)
        await asyncio.sleep(1.5)  # less than the page asks for news
    await page.context.close()
    return Weight(sum(wire), sum(plain))
