"""A pasted web address becomes the picture behind it, at the press of a button and not before."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse
from playwright.async_api import Browser, Locator, expect

from llava_serve.config import MediaConfig
from llava_serve.http import serving
from llava_serve.http.disconnect import client_left
from llava_serve.media.reader import MediaReader
from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack, page_served
from tests.e2e.test_page.test_accessibility import SMALL, check
from tests.until import bounded

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

SIZES = [
    pytest.param(((1280, 800), "light"), id="1280"),
    pytest.param(((390, 844), "dark"), id="390"),
]
# What a browser does when a text is dropped into a box.
DROP = """
(box, text) => {
  const transfer = new DataTransfer();
  transfer.setData('text/plain', text);
  const common = {bubbles: true, cancelable: true};
  box.dispatchEvent(new DragEvent('drop', {...common, dataTransfer: transfer}));
  box.value += text;
  box.dispatchEvent(new Event('input', {bubbles: true}));
}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def left() -> asyncio.Event:
    """Set when whoever had asked for `/slow.png` has left."""
    return asyncio.Event()


@pytest_asyncio.fixture(loop_scope="session")
async def site(shapes: Path, left: asyncio.Event) -> AsyncIterator[str]:
    app = FastAPI()

    @app.get("/my shapes.png")
    async def image() -> FileResponse:
        return FileResponse(shapes)

    @app.get("/page.png")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>no picture</p>")

    @app.get("/slow.png")
    async def slow(request: Request) -> None:
        await client_left(request.receive)
        left.set()

    async with serving.served(app) as address:
        yield address


@pytest_asyncio.fixture(params=SIZES, loop_scope="session")
async def sized(
    request: pytest.FixtureRequest, stack: Stack, browser: Browser, tmp_path: Path
) -> AsyncIterator[Tab]:
    """A tab of each width on a page that may fetch from this machine alone."""
    await stack.join("echo")
    size, theme = request.param
    reader = MediaReader(MediaConfig(allow_remote_media=True), lambda ip: ip == "127.0.0.1")
    (tmp_path / "fetching" / "examples").mkdir(parents=True)
    (tmp_path / "fetching" / "examples" / "examples.json").write_text("[]")
    async with (
        page_served(stack.controller, tmp_path / "fetching", remote_media=reader) as (url, _),
        opened(browser, f"{url}/?__theme={theme}", size) as tab,
    ):
        await expect(tab.model).to_have_value("echo")
        yield tab


async def paste(tab: Tab, text: str, before: str = "") -> None:
    await tab.textbox.fill(text)
    await tab.textbox.press("Control+A")
    await tab.textbox.press("Control+X")
    await tab.textbox.fill(before)
    await tab.textbox.press("Control+V")
    await expect(tab.textbox).to_have_value(before + text)


def offer(tab: Tab) -> Locator:
    return tab.page.locator(f"#{tab.name}-composer-tools").get_by_role("button", name="picture")


async def test_an_address_becomes_its_picture_at_the_press_of_a_button(
    sized: Tab, site: str, tmp_path: Path
) -> None:
    await paste(sized, f"see {site}/my%20shapes.png")
    await expect(offer(sized)).to_have_count(0)
    await paste(sized, f"{site}/my%20shapes.png", "what? ")
    await expect(offer(sized)).to_have_text("Attach the picture")
    await expect(offer(sized)).to_be_in_viewport(ratio=1)
    await check(sized)
    assert await sized.page.evaluate(SMALL) == []
    await sized.page.screenshot(path=tmp_path / "offered.png")
    await offer(sized).click()
    await expect(sized.composer.locator(".thumbnail-item img")).to_have_js_property(
        "naturalWidth", 320
    )
    await expect(sized.textbox).to_have_value("what?")
    await expect(sized.textbox).to_be_focused()
    await expect(offer(sized)).to_have_count(0)
    await sized.page.screenshot(path=tmp_path / "attached.png")
    await sized.textbox.press("Enter")
    await expect(sized.answers.last.locator(".text")).to_contain_text("[1 picture: 320x240] what?")
    assert sized.foreign == []


async def test_what_fails_is_told_and_the_address_stays(
    sized: Tab, site: str, tmp_path: Path
) -> None:
    await paste(sized, f"{site}/page.png")
    await offer(sized).click()
    told = sized.page.locator(".told [role=alert]")
    await expect(told).to_contain_text("Nothing was attached: what the address gives")
    await expect(told).to_be_in_viewport(ratio=1)
    await expect(sized.textbox).to_have_value(f"{site}/page.png")
    await expect(offer(sized)).to_have_text("Attach the picture")
    await check(sized)
    await sized.page.screenshot(path=tmp_path / "refused.png")
    await sized.textbox.fill("")
    await expect(offer(sized)).to_have_count(0)
    await sized.page.route("**/attach", lambda route: route.abort())
    await paste(sized, address := f"{site}/my%20shapes.png")
    await offer(sized).press("Enter")
    await expect(sized.page.locator(".refusals .card")).to_contain_text("nothing was attached")
    await expect(sized.textbox).to_have_value(address)
    await expect(offer(sized)).to_have_text("Attach the picture")


async def test_an_address_that_is_taken_out_of_the_text_is_fetched_no_longer(
    sized: Tab, site: str, left: asyncio.Event, tmp_path: Path
) -> None:
    await paste(sized, f"{site}/slow.png", "what? ")
    await offer(sized).click()
    await expect(offer(sized)).to_have_text("Fetching the picture …")
    await expect(offer(sized)).to_have_attribute("aria-disabled", "true")
    await check(sized)
    await sized.page.screenshot(path=tmp_path / "fetching.png")
    await sized.textbox.fill("what?")
    await expect(offer(sized)).to_have_count(0)
    async with bounded("the end of the fetching"):
        await left.wait()
    await expect(sized.page.locator(".told [role=alert]")).to_have_count(0)


async def test_an_address_is_taken_in_every_tab_and_when_it_is_dropped(
    sized: Tab, site: str
) -> None:
    for name in ("Compare", "Arena"):
        await sized.page.get_by_role("tab", name=name).click()
        sized.name = name.lower()
        await expect(sized.textbox).to_be_visible()
        await sized.textbox.evaluate(DROP, f"{site}/my%20shapes.png")
        await offer(sized).click()
        await expect(sized.composer.locator(".thumbnail-item")).to_have_count(1)
        await expect(sized.textbox).to_have_value("")
