"""The list of past conversations as a browser test uses it."""

import re
from pathlib import Path

from playwright.async_api import Locator, expect

from tests.chromium import Tab
from tests.e2e.test_page.conftest import PHONE

ADDRESS = re.compile(r"[?&](chat|compare)=[0-9a-f]{32}")


class PastList:
    """The list in a tab; on a phone it is opened first."""

    def __init__(self, tab: Tab, size: tuple[int, int]) -> None:
        self.page, self.is_drawer = tab.page, size == PHONE
        self.panel = tab.page.get_by_role("navigation", name="Conversations")
        self.toggle = tab.page.get_by_role("button", name="Conversations", exact=True)
        self.entries = self.panel.locator("li")
        self.search = self.panel.get_by_role("searchbox", name="Search conversations")

    async def open(self) -> None:
        if self.is_drawer:
            await self.toggle.click()
        await expect(self.panel).to_be_visible()

    def entry(self, title: str) -> Locator:
        return self.entries.filter(has_text=title)

    async def more(self, title: str) -> Locator:
        """Show what can be done to one of them."""
        entry = self.entry(title)
        await entry.locator("summary").first.click()
        await expect(entry.get_by_label("Title")).to_be_visible()
        return entry

    async def download(self, title: str, kind: str, target: Path) -> Path:
        entry = await self.more(title)
        async with self.page.expect_download() as download:
            await entry.get_by_role("button", name=kind).click()
        await (await download.value).save_as(target)
        return target


async def begun(tab: Tab, url: str, text: str, *files: Path) -> str:
    """Ask the first question of a conversation; return its address."""
    await tab.page.goto(url)
    await expect(tab.model).to_have_value("echo")
    await tab.ask(text, *files)
    await tab.answered()
    await expect(tab.page).to_have_url(ADDRESS)
    return tab.page.url
