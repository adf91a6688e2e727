"""A link shows one branch as it was, to everybody, and nothing else of its user."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
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
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnRow
from llava_serve.web.app import build_app
from tests.web.conftest import MakeServices
from tests.web.test_conversation_routes import imported, listed

Open = Callable[..., Awaitable[httpx.AsyncClient]]
FIRST = "a secret version"


@pytest.fixture
async def browsers(make_services: MakeServices, tmp_path: Path) -> AsyncIterator[Open]:
    """Open browsers on a page where users sign in, and may share unless it says otherwise."""
    names = ("alice", "bob")
    write_users(tmp_path / "users", {name: hashed(f"{name} knows", 4) for name in names})
    logins = LoginSessions.of(LoginConfig(auth_file=tmp_path / "users"), tmp_path)
    services = replace(make_services("http://127.0.0.1:9"), logins=logins)
    async with AsyncExitStack() as stack:
        addresses: dict[bool, str] = {}

        async def opened(
            user: str | None = None, *, allow_sharing: bool = True
        ) -> httpx.AsyncClient:
            if allow_sharing not in addresses:
                page = build_app(replace(services, allow_sharing=allow_sharing))
                served = serving.served(page.app, page.before_stop)
                addresses[allow_sharing] = await stack.enter_async_context(served)
            address = addresses[allow_sharing]
            client = httpx.AsyncClient(base_url=address, trust_env=False, timeout=60)
            await stack.enter_async_context(client)
            if user is not None:
                form = {"name": user, "password": f"{user} knows", "next": "/"}
                answer = await client.post("/login", data=form, headers={"Origin": address})
                assert answer.status_code == 303
            return client

        yield opened


async def shared(browser: httpx.AsyncClient, name: str) -> str:
    """Make a link; return its path."""
    answer = await browser.post(f"/conversations/{name}/link")
    assert answer.status_code == 201, answer.text
    found = re.search(r'data-path="(shared/[\w-]{43})"', answer.text)
    assert found is not None
    return f"/{found[1]}"


def branched(saved: dict[str, Any]) -> dict[str, Any]:
    """A conversation with another branch, and a title that its user has given."""
    (first,) = saved["exchanges"]
    other = first | {"question": FIRST, "follows": -1, "shown": False, "files": []}
    return saved | {
        "version": 2,
        "exchanges": [other, first | {"follows": -1}],
        "title": "a private title",
    }


async def test_everybody_reads_what_was_shared_and_nothing_else(
    browsers: Open, saved: dict[str, Any], image_uri: str
) -> None:
    alice, visitor = await browsers("alice"), await browsers()
    name = await imported(alice, branched(saved))
    await imported(alice, saved | {"title": "another conversation"})
    path = await shared(alice, name)
    answer = await visitor.get(path)
    assert answer.status_code == 200
    assert "What is" in answer.text and image_uri in answer.text
    for hidden in (FIRST, "a private title", "another conversation", "alice", name, "<script"):
        assert hidden not in answer.text
    assert not re.search(r'(?:src|href|action)="(?!data:|https?://127\.0\.0\.1:9/)', answer.text)
    headers = answer.headers
    assert "noindex" in headers["x-robots-tag"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    assert "set-cookie" not in headers
    for closed in ("/", "/conversations", f"/conversations/{name}.html", "/transcript"):
        assert (await visitor.get(closed)).status_code in (303, 401, 405)


async def test_a_link_shows_what_was_shown_at_its_making(
    browsers: Open, saved: dict[str, Any], tmp_path: Path
) -> None:
    alice, visitor = await browsers("alice"), await browsers()
    name = await imported(alice, saved)
    path = await shared(alice, name)
    before = (await visitor.get(path)).text
    store = Store(default_url(tmp_path))
    row = store.conversation(name)
    assert row is not None
    question, *answers = row.turns
    store.mark_replaced([answers[0].id])
    later = TurnRow(exchange=0, slot=0, role="assistant", text="a later answer", model="a")
    later.parent_id = question.id
    follows = TurnRow(exchange=1, role="user", text="a later question", parent_id=question.id)
    store.add_turns(name, "compare", [later, follows])
    store.add_vote(name, answers[0].id, "up")
    store.close()
    assert (await visitor.get(path)).text == before


async def test_a_link_is_read_in_the_language_of_who_opens_it(
    browsers: Open, saved: dict[str, Any]
) -> None:
    alice, visitor = await browsers("alice"), await browsers()
    path = await shared(alice, await imported(alice, saved))
    visitor.headers["Accept-Language"] = "zh-CN"
    page, nothing = await visitor.get(path), await visitor.get("/shared/nothing")
    assert '<html lang="zh">' in page.text and "模型对比" in page.text
    assert '<html lang="zh">' in nothing.text and "链接不完整" in nothing.text
    again = (await alice.get(path)).text
    assert '<html lang="en">' in again and "Comparison of <time" in again


async def test_a_link_is_listed_replaced_and_withdrawn(
    browsers: Open, saved: dict[str, Any]
) -> None:
    alice, visitor = await browsers("alice"), await browsers()
    name = await imported(alice, saved)
    assert "Share by a link" in await listed(alice)
    first, second = [await shared(alice, name) for _ in range(2)]
    assert (await visitor.get(first)).status_code == 404
    assert (await visitor.get(second)).status_code == 200
    assert second.removeprefix("/") in await listed(alice)
    answer = await alice.delete(f"/conversations/{name}/link")
    assert "Share by a link" in answer.text
    gone = await visitor.get(second)
    assert gone.status_code == 404 and "was withdrawn" in gone.text
    assert "noindex" in gone.headers["x-robots-tag"]


async def test_a_link_goes_with_its_conversation(browsers: Open, saved: dict[str, Any]) -> None:
    alice, visitor = await browsers("alice"), await browsers()
    name = await imported(alice, saved)
    path = await shared(alice, name)
    assert (await alice.delete(f"/conversations/{name}")).status_code == 204
    assert (await visitor.get(path)).status_code == 404


async def test_nobody_shares_or_withdraws_what_is_anothers(
    browsers: Open, saved: dict[str, Any]
) -> None:
    alice, bob, visitor = await browsers("alice"), await browsers("bob"), await browsers()
    name = await imported(alice, saved)
    assert (await bob.post(f"/conversations/{name}/link")).status_code == 404
    path = await shared(alice, name)
    await bob.delete(f"/conversations/{name}/link")
    assert path.removeprefix("/") not in await listed(bob)
    assert (await visitor.get(path)).status_code == 200
    for method in ("POST", "DELETE"):
        answer = await visitor.request(method, f"/conversations/{name}/link")
        assert answer.status_code == 401
    assert (await visitor.get("/shared/" + "a" * 43)).status_code == 404
    assert (await visitor.get("/shared/../conversations")).status_code in (303, 401, 404)


async def test_nothing_is_shared_unless_the_operator_allows_it(
    browsers: Open, saved: dict[str, Any]
) -> None:
    alice = await browsers("alice")
    name = await imported(alice, saved)
    path = await shared(alice, name)
    strict, visitor = [await browsers(one, allow_sharing=False) for one in ("alice", None)]
    assert "link" not in await listed(strict)
    answer = await strict.post(f"/conversations/{name}/link")
    assert answer.status_code in (404, 405)
    answer = await visitor.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 303 and answer.headers["location"].startswith("/login")
    assert (await strict.get(path)).status_code == 404
