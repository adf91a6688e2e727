"""Page as a test sees it: its tags and words, and how it looks in a browser."""

from html.parser import HTMLParser
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT

from tests.chromium import chromium

HOSTILE = "</div></style><script>alert(1)</script><img src=https://example.com/x onerror=alert(2)>"


class Seen(HTMLParser):
    """Tags, addresses, text and event handlers of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


async def require_readable(path: Path, width: int, scheme: str) -> None:
    """Fail where axe-core finds something, or the page hangs over the edge or asks a network."""
    async with chromium() as browser:
        context = await browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            bypass_csp=False,
        )
        page = await context.new_page()
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        await page.goto(path.as_uri())
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert said == []
        shown = await page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
        assert shown
        await page.evaluate(AXE_SCRIPT)
        found = await page.evaluate("axe.run().then((all) => all.violations)")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
