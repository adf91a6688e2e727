"""The list of past conversations: found, opened, renamed, deleted, saved and brought back.

Each at the width of a desk, where it is a column, and of a phone, where it is a drawer.
"""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from llava_serve.login_config import LoginConfig
from llava_serve.logins.login_sessions import LoginSessions
from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack, page_served
from tests.e2e.test_page.test_accessibility import SMALL, check
from tests.e2e.test_page.test_login import auth_file as auth_file, sign_in

DESK, PHONE = (1280, 800), (390, 844)
SIZES = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS, SIZES]


class PastList:
    """The list in a tab; on a phone it is opened first."""

    def __init__(self, tab: Tab, size: tuple[int, int]) -> None:
        self.page, self.is_drawer = tab.page, size == PHONE
        self.panel = tab.page.get_by_role("navigation", name="Conversations")
        self.toggle = tab.page.get_by_role("button", name="Conversations", exact=True)
        self.entries = self.panel.locator("li")

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


async def asked(tab: Tab, text: str, *files: Path) -> str:
    """Ask the first question of a conversation; return its address."""
    await tab.ask(text, *files)
    await tab.answered(await tab.answers.count() or 1)
    await expect(tab.page).to_have_url(re.compile(r"[?&](chat|compare)=[0-9a-f]{32}"))
    return tab.page.url


async def at_start(tab: Tab, address: str) -> None:
    await tab.page.goto(address)
    await expect(tab.model).to_have_value("echo")


async def test_look(browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]) -> None:
    await stack.join("echo")
    await stack.join("other")
    for theme in ("light", "dark"):
        async with opened(browser, f"{stack.page}/?__theme={theme}", size) as tab:
            await expect(tab.model).to_have_value("echo")
            name = f"/tmp/convs/{theme}-{size[0]}"
            await tab.page.screenshot(path=f"{name}-0.png")
            await tab.ask(
                "What is on the picture, and how many of its shapes are round? Tell me in detail.",
                shapes,
            )
            await tab.answered()
            await tab.page.goto(f"{stack.page}/?__theme={theme}")
            await expect(tab.model).to_have_value("echo")
            await tab.compare()
            await expect(tab.page.locator("#compare-status")).to_contain_text("2 models")
            await tab.ask("Which is better?", shapes)
            await tab.answered(2)
            past = PastList(tab, size)
            await past.open()
            await expect(past.entries).to_have_count(2)
            await tab.page.screenshot(path=f"{name}-1.png")
            entry = await past.more("What is on")
            await tab.page.screenshot(path=f"{name}-2.png")
            await entry.get_by_text("Delete …").click()
            await tab.page.screenshot(path=f"{name}-3.png")
            await past.panel.get_by_role("searchbox").fill("nothing of this")
            await entry.locator("summary").first.click()
            await expect(past.panel.locator(".hint")).to_be_visible()
            await past.toggle.click()
            await tab.page.screenshot(path=f"{name}-4.png")
