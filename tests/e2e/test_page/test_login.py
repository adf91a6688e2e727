"""Signing in at the page, and out, in a real browser; and how that looks and is heard."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack, page_served
from tests.e2e.test_page.test_accessibility import SCHEMES, SMALL, check, themes

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

PASSWORD = "correct horse battery"


@pytest.fixture
def auth_file(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    write_users(file, {name: hashed(PASSWORD, 4) for name in ("alice", "bob")})
    return file


@pytest_asyncio.fixture(loop_scope="session")
async def address(stack: Stack, auth_file: Path, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a page where users sign in."""
    await stack.join("echo")
    logins = LoginSessions.of(LoginConfig(auth_file=auth_file), tmp_path)
    async with page_served(stack.controller, tmp_path, logins) as (address, _):
        yield address


async def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


@SIZES
async def test_a_user_signs_in_asks_signs_out_and_finds_it_again(
    browser: Browser, address: str, shapes: Path, size: tuple[int, int]
) -> None:
    async with opened(browser, address, size) as tab:
        await sign_in(tab.page, "alice", "guessed it")
        await expect(tab.page.get_by_role("alert")).to_contain_text("name or the password is wrong")
        await expect(tab.page.get_by_label("Password")).to_be_focused()
        await sign_in(tab.page, "alice")
        await expect(tab.model).to_have_value("echo")
        await expect(tab.page.locator(".account")).to_contain_text("alice")
        await tab.ask("what is this?", shapes)
        await tab.answered()
        link = tab.page.url
        assert "?chat=" in link
        await expect(tab.transcript.locator("img")).to_have_js_property("complete", True)
        assert await tab.transcript.locator("img").first.evaluate("image => image.naturalWidth")
        await tab.page.get_by_role("button", name="Sign out").click()
        await expect(tab.page.get_by_role("button", name="Sign in")).to_be_visible()
        await tab.page.goto(link)
        await sign_in(tab.page, "alice")
        await expect(tab.answers).to_contain_text("what is this?")
        assert tab.page.url == link
        assert tab.foreign == []
    async with opened(browser, link, size) as tab:
        await sign_in(tab.page, "bob")
        await expect(tab.transcript).to_contain_text("no conversation under this address")
        assert "what is this?" not in await tab.transcript.inner_text()


async def test_who_is_signed_out_meanwhile_signs_in_and_goes_on(
    browser: Browser, address: str, auth_file: Path
) -> None:
    async with opened(browser, address) as tab:
        await sign_in(tab.page, "alice")
        await expect(tab.model).to_have_value("echo")
        await tab.textbox.fill("half a question")
        await expect_draft(tab)
        write_users(auth_file, {"alice": hashed("changed it", 4)})
        await expect(tab.page.get_by_role("button", name="Sign in")).to_be_visible()
        await sign_in(tab.page, "alice", "changed it")
        await expect(tab.textbox).to_have_value("half a question")


async def expect_draft(tab: Tab) -> None:
    await tab.page.wait_for_function(
        "() => Object.keys(sessionStorage).some((key) => key.startsWith('draft'))"
    )


@SIZES
async def test_axe_finds_nothing_where_users_sign_in(
    browser: Browser, address: str, size: tuple[int, int]
) -> None:
    async with opened(browser, address, size) as tab:
        for scheme in SCHEMES:
            await tab.page.emulate_media(color_scheme=scheme)
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
        await sign_in(tab.page, "alice", "guessed it")
        for scheme in SCHEMES:
            await tab.page.emulate_media(color_scheme=scheme)
            await expect(tab.page.get_by_role("alert")).to_be_in_viewport()
            await check(tab)
        await sign_in(tab.page, "alice")
        await expect(tab.model).to_have_value("echo")
        async for _ in themes(tab):
            await expect(tab.page.get_by_role("button", name="Sign out")).to_be_in_viewport()
            await check(tab)
            width = await tab.page.evaluate("document.documentElement.scrollWidth")
            assert width <= size[0]
