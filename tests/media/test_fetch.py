"""What is fetched from the web: checked at each hop, bounded; tested against a real server."""

import socket
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from llava_serve.errors import MediaTooLarge, RemoteMediaRefused
from llava_serve.http.serving import served
from llava_serve.media.fetch import Fetcher


def is_here(address: str) -> bool:
    return address == "127.0.0.1"


def build_site() -> FastAPI:
    site = FastAPI()

    @site.get("/file")
    async def file(request: Request) -> Response:
        return Response(request.headers["host"].encode())

    @site.get("/hops/{left}")
    async def hops(left: int) -> Response:
        return RedirectResponse(f"/hops/{left - 1}" if left > 1 else "../file")

    @site.get("/to")
    async def to(url: str) -> Response:
        return RedirectResponse(url)

    @site.get("/size/{size}")
    async def size(size: int) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(size // 1000):
                yield bytes(1000)

        return StreamingResponse(pieces())

    return site


@pytest.fixture
async def site() -> AsyncIterator[str]:
    async with served(build_site()) as address:
        yield address


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher(limit_bytes=50_000, is_allowed=is_here) as fetcher:
        yield fetcher


async def test_a_file_is_fetched_under_the_name_it_was_asked_by(
    fetcher: Fetcher, site: str
) -> None:
    named = site.replace("127.0.0.1", "localhost") + "/file"
    assert await fetcher.fetch(named) == named.removeprefix("http://").split("/")[0].encode()


async def test_three_redirects_are_followed(fetcher: Fetcher, site: str) -> None:
    assert await fetcher.fetch(f"{site}/hops/3") == site.removeprefix("http://").encode()


async def test_four_redirects_are_too_many(fetcher: Fetcher, site: str) -> None:
    with pytest.raises(RemoteMediaRefused, match="more than 3 times"):
        await fetcher.fetch(f"{site}/hops/4")


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("127.0.0.1", id="loopback"),
        pytest.param("localhost", id="its name"),
        pytest.param("localhost.", id="its full name"),
        pytest.param("2130706433", id="decimal"),
        pytest.param("0x7f000001", id="hexadecimal"),
        pytest.param("0177.0.0.1", id="octal"),
        pytest.param("127.1", id="short"),
        pytest.param("[::1]", id="IPv6"),
        pytest.param("[::ffff:127.0.0.1]", id="IPv4 in IPv6"),
        pytest.param("169.254.169.254", id="cloud metadata"),
    ],
)
async def test_this_machine_and_its_network_are_refused_in_every_spelling(
    site: str, host: str
) -> None:
    port = site.rsplit(":", 1)[1]
    async with Fetcher() as fetcher:
        with pytest.raises(RemoteMediaRefused, match=r"public internet|no address"):
            await fetcher.fetch(f"http://{host}:{port}/file")


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2/", "http://169.254.169.254/latest", "file:///etc/hostname", "ftp://x/y"],
)
async def test_a_redirect_is_checked_like_the_address_itself(
    fetcher: Fetcher, site: str, target: str
) -> None:
    with pytest.raises(RemoteMediaRefused, match=r"public internet|only http"):
        await fetcher.fetch(f"{site}/to?url={target}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/hostname", "only http|complete"),
        ("/etc/hostname", "complete"),
        ("http://user:secret@127.0.0.1/", "password"),
        ("http://127.0.0.1:99999/", "valid"),
        ("http:///x", "complete|host"),
        ("http://no-such-host.invalid/", "no address"),
    ],
)
async def test_an_address_that_cannot_be_fetched_is_refused(
    fetcher: Fetcher, url: str, reason: str
) -> None:
    with pytest.raises(RemoteMediaRefused, match=reason):
        await fetcher.fetch(url)


async def test_a_missing_file_is_said_with_its_status(fetcher: Fetcher, site: str) -> None:
    with pytest.raises(RemoteMediaRefused, match="status 404"):
        await fetcher.fetch(f"{site}/nothing")


async def test_content_beyond_the_limit_is_refused(fetcher: Fetcher, site: str) -> None:
    assert len(await fetcher.fetch(f"{site}/size/50000")) == 50_000
    with pytest.raises(MediaTooLarge):
        await fetcher.fetch(f"{site}/size/51000")


async def test_a_host_that_is_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with Fetcher(is_allowed=is_here, limit_s=0.05) as fetcher:
            with pytest.raises(RemoteMediaRefused, match=r"within 0\.05 s"):
                await fetcher.fetch(url)


async def test_an_address_where_nobody_listens_is_refused(fetcher: Fetcher) -> None:
    with pytest.raises(RemoteMediaRefused, match="cannot be fetched"):
        await fetcher.fetch("http://127.0.0.1:1/")
