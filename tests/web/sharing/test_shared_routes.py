"""A link shows one branch as it was, to everybody, and nothing else of its user."""

import asyncio
import base64
import gzip
import io
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from PIL.ExifTags import Base
from starlette.types import Message

from llava_serve.errors import PageBusy
from llava_serve.http import serving
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.quota import Quota
from llava_serve.storage.store import Store, default_url
from llava_serve.storage.tables import TurnRow
from llava_serve.web.app import build_app
from llava_serve.web.sharing.shared_routes import CountedPage
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


def photo_uri() -> str:
    """A photo that is turned by its EXIF, which says where it was taken."""
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif[Base.Make] = "a camera on Elm Street"
    out = io.BytesIO()
    Image.new("RGB", (40, 20), "teal").save(out, "JPEG", exif=exif)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


async def test_a_shared_photo_is_upright_and_tells_neither_its_name_nor_its_place(
    browsers: Open, saved: dict[str, Any]
) -> None:
    alice, visitor = await browsers("alice"), await browsers()
    (first,) = saved["exchanges"]
    files = [{"name": "Anna on Elm Street.jpg", "url": photo_uri()}]
    name = await imported(alice, saved | {"exchanges": [first | {"question": "", "files": files}]})
    page = (await visitor.get(await shared(alice, name))).text
    assert "Anna" not in page and 'alt="Picture 1"' in page
    (sent,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    data = base64.b64decode(sent)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (20, 40) and not image.getexif()
    assert b"Elm Street" not in data
    own = (await alice.get(f"/conversations/{name}.html")).text
    assert "Anna" in own and photo_uri() in own


async def test_a_shared_page_is_made_once_and_ends_with_its_link(
    browsers: Open, saved: dict[str, Any], tmp_path: Path
) -> None:
    alice, visitor = await browsers("alice"), await browsers()
    name = await imported(alice, saved)
    path = await shared(alice, name)
    pages = [answer.text for answer in await asyncio.gather(*(visitor.get(path) for _ in "abc"))]
    shutil.rmtree(tmp_path / "media")  # what is read no more
    plain = await visitor.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert {*pages, (await visitor.get(path)).text, plain.text} == {pages[0]}
    await alice.delete(f"/conversations/{name}/link")
    assert (await visitor.get(path)).status_code == 404


async def test_what_is_sent_of_shared_pages_is_bounded_together() -> None:
    sent, page = Quota(10), b"0123456789"
    slow, reads = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            reads.set()
            await slow.wait()

    def one(wait_s: float) -> CountedPage:
        return CountedPage(sent, page, {}, wait_s)

    async with asyncio.TaskGroup() as clients:
        clients.create_task(one(10)({"type": "http"}, receive, send))
        await reads.wait()
        with pytest.raises(PageBusy, match="megabytes of shared pages"):
            await one(0)({"type": "http"}, receive, send)
        slow.set()
    await one(0)({"type": "http"}, receive, send)
    assert sent.held == 0


async def test_who_takes_no_gzip_gets_the_page_unpacked_within_the_bound() -> None:
    page, got = b"0123456789" * 100, bytearray()
    sent = Quota(len(page))

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert (b"content-length", b"1000") in message["headers"]
        else:
            assert sent.held == len(page)
            got.extend(message["body"])

    packed = gzip.compress(page)
    await CountedPage(sent, packed, {}, 0, unpacks=True)({"type": "http"}, receive, send)
    assert (bytes(got), sent.held) == (page, 0)
