"""Images behind web addresses: only where allowed, for who may, and nothing else comes back."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from PIL import Image

from llava_serve.config import MediaConfig
from llava_serve.http import serving
from llava_serve.http.body import BodyLimits
from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.login_config import LoginConfig
from llava_serve.logins.auth_file import write_users
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.passwords import hashed
from llava_serve.media.fetch import is_public
from llava_serve.media.reader import MediaReader
from llava_serve.web.app import build_app
from llava_serve.web.browser_identity import BrowserIdentity
from llava_serve.web.image_url import routes
from llava_serve.web.image_url.routes import MOST_AT_ONCE, MOST_OF_ONE_USER, image_url_router
from tests.until import until
from tests.web.conftest import MakeServices

SECRET = b"\x01\x02secret of another service"
CONFIG = MediaConfig(allow_remote_media=True, max_image_mb=0.05)


def is_here(address: str) -> bool:
    return address == "127.0.0.1"


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 6), "red").save(file, "PNG")
    return file.getvalue()


class Site:
    """A web site; `/held` answers one of those who wait there at each `go`."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self._go = asyncio.Semaphore(0)
        self.waiting = self.most_waiting = 0
        files = {"picture": png(), "page": b"<html>", "secret": SECRET, "cut": png()[:40] + SECRET}
        files |= {"large": png() + bytes(60_000)}

        @self.app.get("/file/{name}")
        async def file(name: str) -> Response:
            return Response(files[name.partition(".")[0]], media_type="text/html")

        @self.app.get("/to")
        async def to(url: str) -> Response:
            return RedirectResponse(url)

        @self.app.get("/held")
        async def held(request: Request) -> Response:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            try:
                await unless_client_leaves(self._go.acquire(), request.receive)
            finally:
                self.waiting -= 1
            return Response(png())

    def go(self) -> None:
        self._go.release()


@pytest.fixture
async def site() -> Site:
    return Site()


@pytest.fixture
async def address(site: Site) -> AsyncIterator[str]:
    async with serving.served(site.app) as address:
        yield address


@pytest.fixture
async def route() -> AsyncIterator[str]:
    """The route alone, for browsers that are known by their cookies."""
    reader = MediaReader(CONFIG, is_here)
    app = FastAPI()
    app.add_middleware(BrowserIdentity)
    serving.prepare(app, BodyLimits(100_000))
    app.include_router(image_url_router(reader))
    async with reader, serving.served(app) as address:
        yield address


def browser(page: str, letter: str = "a") -> httpx.AsyncClient:
    cookies = {"llava_browser": letter * 43}
    return httpx.AsyncClient(base_url=page, cookies=cookies, trust_env=False, timeout=60)


async def fetch(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await client.post("/image-url", json={"url": url})


async def test_a_picture_comes_as_it_is_and_as_nothing_else(route: str, address: str) -> None:
    async with browser(route) as client:
        answer = await fetch(client, f"{address}/to?url=/file/picture.html")
    assert (answer.status_code, answer.content) == (200, png())
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["page", "secret", "cut"])
async def test_of_what_is_no_picture_nothing_is_told(route: str, address: str, name: str) -> None:
    async with browser(route) as client:
        answer = await fetch(client, f"{address}/file/{name}")
    assert (answer.status_code, answer.json()["code"]) == (400, "image_url_refused")
    assert answer.json()["error"] == (
        f"Nothing was attached: {routes.NO_IMAGE}. Open the address in a browser: copy the address "
        "of the picture itself, or save the picture and attach the file."
    )


async def test_a_picture_that_is_too_large_is_refused(route: str, address: str) -> None:
    async with browser(route) as client:
        answer = await fetch(client, f"{address}/file/large")
    assert (answer.status_code, answer.json()["code"]) == (413, "media_too_large")
    assert "more than the 0.1 MB" in answer.json()["error"]


@pytest.mark.parametrize("url", ["http://127.0.0.2:1/x.png", "file:///etc/hostname"])
async def test_a_redirect_leads_to_no_private_address(route: str, address: str, url: str) -> None:
    async with browser(route) as client:
        answer = await fetch(client, f"{address}/to?url={url}")
    assert (answer.status_code, answer.json()["code"]) == (400, "image_url_refused")
    assert "public internet" in answer.json()["error"] or "only http" in answer.json()["error"]


@pytest.mark.parametrize("url", ["data:,x", "file:///etc/hostname", "ftp://x/y", "x.png", ""])
async def test_nothing_but_a_web_address_is_taken(route: str, url: str) -> None:
    async with browser(route) as client:
        assert (await fetch(client, url)).status_code in (400, 422)
        assert (await fetch(client, "http://x/" + "y" * 4000)).status_code in (400, 422)


async def test_a_connection_that_fails_is_told_without_its_address(route: str) -> None:
    async with browser(route) as client:
        answer = await fetch(client, "http://127.0.0.1:1/x.png")
    assert answer.json()["error"].startswith("Nothing was attached: the address cannot be fetched.")


async def test_a_user_has_a_few_at_once_and_no_other_user_waits_for_them(
    route: str, site: Site, address: str
) -> None:
    async with browser(route, "a") as one, browser(route, "b") as other:
        held = [asyncio.create_task(fetch(one, f"{address}/held")) for _ in range(MOST_OF_ONE_USER)]
        await until(lambda: site.waiting == MOST_OF_ONE_USER, "the fetching")
        answer = await fetch(one, f"{address}/file/picture")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_image_urls")
        assert (await fetch(other, f"{address}/file/picture")).status_code == 200
        held.pop().cancel()  # a browser that leaves ends its fetching
        await until(lambda: site.waiting == MOST_OF_ONE_USER - 1, "the end of one")
        assert (await fetch(one, f"{address}/file/picture")).status_code == 200
        for one_held in held:
            site.go()
            assert (await one_held).status_code == 200


async def test_all_users_together_have_a_few_at_once(route: str, site: Site, address: str) -> None:
    async with AsyncExitStack() as stack:
        letters = [chr(ord("a") + place) for place in range(MOST_AT_ONCE)]
        clients = [await stack.enter_async_context(browser(route, one)) for one in letters]
        url = f"{address}/held"
        asked = [asyncio.create_task(fetch(one, url)) for one in clients * MOST_OF_ONE_USER]
        for left in range(len(asked), 0, -1):
            await until(lambda: site.waiting >= min(left, MOST_AT_ONCE), "the next")  # noqa: B023
            site.go()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    assert site.most_waiting == MOST_AT_ONCE


@pytest.fixture
async def pages(
    make_services: MakeServices, tmp_path: Path
) -> AsyncIterator[dict[bool, httpx.AsyncClient]]:
    """Browsers on whole pages that may fetch, and may not; nobody has signed in."""
    write_users(tmp_path / "users", {"alice": hashed("alice knows", 4)})
    logins = LoginSessions.of(LoginConfig(auth_file=tmp_path / "users"), tmp_path)
    services = replace(make_services("http://127.0.0.1:9"), logins=logins)
    async with AsyncExitStack() as stack:
        clients = {}
        for is_allowed in (True, False):
            reader = MediaReader(CONFIG, is_public) if is_allowed else None
            page = build_app(replace(services, remote_media=reader))
            served = serving.served(page.app, page.before_stop)
            client = browser(await stack.enter_async_context(served))
            clients[is_allowed] = await stack.enter_async_context(client)
        yield clients


async def sign_in(client: httpx.AsyncClient) -> None:
    form = {"name": "alice", "password": "alice knows", "next": "/"}
    headers = {"Origin": str(client.base_url).rstrip("/")}
    assert (await client.post("/login", data=form, headers=headers)).status_code == 303


async def test_only_where_the_operator_allows_it_and_for_who_may(
    pages: dict[bool, httpx.AsyncClient], address: str
) -> None:
    answer = await fetch(pages[True], f"{address}/file/picture")
    assert answer.status_code == 401
    for client in pages.values():
        await sign_in(client)
    assert "Attach the picture" in (await pages[True].get("/")).text
    assert "Attach the picture" not in (await pages[False].get("/")).text
    assert (await fetch(pages[False], f"{address}/file/picture")).status_code in (404, 405)
    foreign = await pages[True].post(
        "/image-url", json={"url": address}, headers={"Origin": "http://evil.example"}
    )
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "origin_refused")
    told = set()
    for host in ("127.0.0.1", "localhost", "169.254.169.254", "no-such-host.invalid"):
        answer = await fetch(
            pages[True], f"http://{host}:{address.rpartition(':')[2]}/file/picture"
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "image_url_refused")
        told.add(answer.json()["error"].replace(host, "HOST"))
    (only,) = told  # which of them there are, nobody learns
    assert "the host 'HOST' has no address on the public internet" in only
