"""Past conversations over the wire: whose they are, what is written of them, what is taken back."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.web.app import build_app
from llava_serve.web.chat_service import Services
from tests.web.conftest import MakeServices


@pytest.fixture
async def browsers(
    make_services: MakeServices, tmp_path: Path
) -> AsyncIterator[Callable[..., Any]]:
    """Open browsers on a page without logins, or as users on one with them."""
    services = make_services("http://127.0.0.1:9")
    async with AsyncExitStack() as stack:

        async def served(services: Services) -> str:
            page = build_app(services)
            return await stack.enter_async_context(serving.served(page.app, page.before_stop))

        names = ("alice", "bob")
        write_users(tmp_path / "users", {name: hashed(f"{name} knows", 4) for name in names})
        logins = LoginSessions.of(LoginConfig(auth_file=tmp_path / "users"), tmp_path)
        addresses: dict[bool, str] = {}

        async def opened(user: str | None = None) -> httpx.AsyncClient:
            has_logins = user is not None
            if has_logins not in addresses:
                page_services = replace(services, logins=logins if has_logins else None)
                addresses[has_logins] = await served(page_services)
            client = httpx.AsyncClient(base_url=addresses[has_logins], trust_env=False, timeout=60)
            await stack.enter_async_context(client)
            if user is not None:
                form = {"name": user, "password": f"{user} knows", "next": "/"}
                origin = {"Origin": addresses[True]}
                assert (await client.post("/login", data=form, headers=origin)).status_code == 303
            await client.get("/")
            return client

        yield opened


async def imported(browser: httpx.AsyncClient, saved: dict[str, Any]) -> str:
    answer = await browser.post("/conversations/import", json=saved)
    assert answer.status_code == 201, answer.text
    assert answer.json()["kind"] == saved["kind"]
    return str(answer.json()["id"])


async def listed(browser: httpx.AsyncClient, **asked: str) -> str:
    answer = await browser.get("/conversations", params=asked)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    return answer.text


async def test_what_was_saved_comes_back_as_it_was(
    browsers: Callable[..., Any], saved: dict[str, Any]
) -> None:
    browser = await browsers()
    name = await imported(browser, saved)
    answer = await browser.get(f"/conversations/{name}.json")
    assert answer.headers["content-disposition"] == "attachment"
    again = answer.json()
    assert again | {"created_at": saved["created_at"]} == saved
    assert await imported(browser, again) != name


async def test_the_list_says_day_and_kind_and_escapes_titles(
    browsers: Callable[..., Any], saved: dict[str, Any]
) -> None:
    browser = await browsers()
    assert "Nothing here yet" in await listed(browser)
    name = await imported(browser, saved)
    html = await listed(browser, zone="Pacific/Auckland")
    assert "<h3>Today</h3>" in html and f'href="?compare={name}"' in html and "Compare" in html
    assert "<img" not in html and "Title &lt;img" in html
    assert name in await listed(browser, search="BOLD title")
    assert "No conversation holds" in await listed(browser, search="elsewhere")
    assert name in await listed(browser, zone="no/../such")


async def test_a_page_without_cookies_says_why_it_lists_nothing(
    browsers: Callable[..., Any], saved: dict[str, Any]
) -> None:
    browser = await browsers()
    browser.cookies.clear()
    assert "keeps no cookies" in await listed(browser)
    refused = await browser.post("/conversations/import", json=saved)
    assert refused.status_code == 400 and "keeps no cookies" in refused.json()["error"]
    assert "Allow cookies for this page" in refused.json()["error"]
    browser.cookies.set("llava_browser", "guessed")
    assert "keeps no cookies" in await listed(browser)


async def test_the_cookie_is_kept_from_scripts_and_stays_the_same(
    browsers: Callable[..., Any],
) -> None:
    browser = await browsers()
    value = browser.cookies["llava_browser"]
    again = (await browser.get("/")).headers["set-cookie"]
    assert again.startswith(f"llava_browser={value};")
    assert "HttpOnly" in again and "SameSite=lax" in again
    assert "llava_browser" not in (await browsers("alice")).cookies


@pytest.mark.parametrize("users", [("alice", "bob"), (None, None)], ids=["users", "browsers"])
async def test_another_ones_can_neither_be_listed_nor_touched(
    browsers: Callable[..., Any], saved: dict[str, Any], users: tuple[str | None, str | None]
) -> None:
    mine, other = [await browsers(user) for user in users]
    name = await imported(mine, saved)
    assert name not in await listed(other) and name not in await listed(other, search="bold")
    for answer in (
        await other.patch(f"/conversations/{name}", json={"title": "taken"}),
        await other.delete(f"/conversations/{name}"),
        await other.get(f"/conversations/{name}.json"),
        await other.get(f"/conversations/{name}.html"),
    ):
        assert answer.status_code == 404
        assert "no conversation" in answer.json()["error"]
    (file,) = set(re.findall(r"media/[0-9a-f]{64}\.png", (await transcript(mine, name)).text))
    if users[0] is not None:
        assert (await transcript(other, name)).status_code == 404
        assert (await other.get(f"/{file}")).status_code == 404
    assert (await mine.get(f"/{file}")).status_code == 200
    assert "Title" in await listed(mine)


async def transcript(browser: httpx.AsyncClient, name: str) -> httpx.Response:
    return await browser.post("/transcript", json={"id": name})


async def test_nobody_but_who_has_signed_in_reaches_the_routes(
    browsers: Callable[..., Any], saved: dict[str, Any]
) -> None:
    alice = await browsers("alice")
    name = await imported(alice, saved)
    alice.cookies.clear()
    for answer in (
        await alice.get("/conversations"),
        await alice.delete(f"/conversations/{name}"),
        await alice.get(f"/conversations/{name}.json"),
        await alice.post("/conversations/import", json=saved),
    ):
        assert answer.status_code == 401


async def test_one_is_renamed_and_deleted_with_its_file(
    browsers: Callable[..., Any], saved: dict[str, Any]
) -> None:
    browser = await browsers()
    name = await imported(browser, saved)
    file = re.findall(r"media/[0-9a-f]{64}\.png", (await transcript(browser, name)).text)[0]
    assert (await browser.patch(f"/conversations/{name}", json={"title": "New"})).status_code == 204
    assert ">New<" in await listed(browser)
    assert (await browser.delete(f"/conversations/{name}")).status_code == 204
    assert "Nothing here yet" in await listed(browser)
    assert (await browser.get(f"/{file}")).status_code == 404
    assert (await browser.delete(f"/conversations/{name}")).status_code == 404


async def test_the_saved_page_has_all_and_can_do_nothing(
    browsers: Callable[..., Any], saved: dict[str, Any], image_uri: str
) -> None:
    browser = await browsers()
    answer = await browser.get(f"/conversations/{await imported(browser, saved)}.html")
    assert "sandbox" in answer.headers["content-security-policy"]
    html = answer.text
    assert f'src="{image_uri}"' in html and "<strong>bold</strong>" in html
    assert "default-src 'none'" in html
    assert "<script" not in html and "onerror=alert(1)>" not in html
    assert re.findall(r'<img[^>]*src="(?!data:)', html) == []
    for said in ("What is\n&lt;img", "4.5 tokens/s", "The model stopped in the middle"):
        assert said in html


async def test_what_is_no_conversation_is_refused_with_the_reason(
    browsers: Callable[..., Any], saved: dict[str, Any]
) -> None:
    browser = await browsers()
    saved["exchanges"][0]["files"][0]["url"] = "http://127.0.0.1:9/x.png"
    refused = await browser.post("/conversations/import", json=saved)
    assert refused.status_code == 400
    assert "brings no picture or video" in refused.json()["error"]
    assert "that this page has saved" in refused.json()["error"]
    large = await browser.post("/conversations/import", content=bytes(1_000_001))
    assert large.status_code == 413 and "larger than 1 MB" in large.json()["error"]
    assert "Nothing here yet" in await listed(browser)
