"""Files come from `data:` URIs as people write them, and from public web addresses alone."""

import asyncio
import base64
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from llava_serve.errors import MediaTooLarge, MediaUnreadable, RemoteMediaRefused
from llava_serve.http.serving import served
from llava_serve.media.fetch import Fetcher, is_public, read_data_uri, trimmed
from tests.until import LIMIT_S


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


async def test_names_whose_server_is_silent_leave_other_threads_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up, may_end = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        looked_up.set()
        may_end.wait(LIMIT_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    async with Fetcher(limit_s=LIMIT_S) as fetcher:
        addresses = [f"http://{number}.example/" for number in range(50)]
        fetching = [asyncio.create_task(fetcher.fetch(one)) for one in addresses]
        try:
            assert await asyncio.wait_for(asyncio.to_thread(looked_up.wait, LIMIT_S), LIMIT_S / 2)
        finally:
            may_end.set()
            failed = await asyncio.gather(*fetching, return_exceptions=True)
    assert {type(one) for one in failed} == {RemoteMediaRefused}


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_may_be_reached(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("127.0.0.1", id="loopback"),
        pytest.param("0.0.0.0", id="unspecified"),
        pytest.param("10.1.2.3", id="private"),
        pytest.param("172.16.0.1", id="private, B"),
        pytest.param("192.168.1.1", id="private, C"),
        pytest.param("169.254.169.254", id="cloud metadata"),
        pytest.param("100.64.0.1", id="carrier NAT"),
        pytest.param("224.0.0.1", id="multicast"),
        pytest.param("240.0.0.1", id="reserved"),
        pytest.param("255.255.255.255", id="broadcast"),
        pytest.param("198.18.0.1", id="benchmark"),
        pytest.param("168.63.129.16", id="Azure's wire server"),
        pytest.param("192.0.0.192", id="Oracle's cloud metadata"),
        pytest.param("192.88.99.1", id="6to4 relay"),
        pytest.param("::1", id="IPv6 loopback"),
        pytest.param("::", id="IPv6 unspecified"),
        pytest.param("fe80::1", id="link local"),
        pytest.param("fe80::1%eth0", id="link local with zone"),
        pytest.param("fd00:ec2::254", id="unique local: cloud metadata"),
        pytest.param("fec0::1", id="site local"),
        pytest.param("ff02::1", id="IPv6 multicast"),
        pytest.param("100:0:0:1::1", id="dummy"),
        pytest.param("3fff::1", id="documentation"),
        pytest.param("5f00::1", id="segment routing"),
        pytest.param("::ffff:168.63.129.16", id="IPv4-mapped wire server"),
        pytest.param("64:ff9b::a83f:8110", id="NAT64 of the wire server"),
        pytest.param("::ffff:127.0.0.1", id="IPv4-mapped loopback"),
        pytest.param("::ffff:a9fe:a9fe", id="IPv4-mapped metadata"),
        pytest.param("::127.0.0.1", id="IPv4-compatible loopback"),
        pytest.param("64:ff9b::7f00:1", id="NAT64 of loopback"),
        pytest.param("64:ff9b:1::7f00:1", id="local NAT64"),
        pytest.param("2002:7f00:1::", id="6to4 of loopback"),
        pytest.param("2002:c0a8:101::1", id="6to4 of a private address"),
        pytest.param("2001:0:808:808::f5ff:fffe", id="Teredo"),
        pytest.param("localhost", id="a name"),
    ],
)
def test_any_other_address_may_not(address: str) -> None:
    assert not is_public(address)


CONTENT = bytes(range(256))
BASE64 = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param(f"data:image/png;base64,{BASE64}", id="with a type"),
        pytest.param(f"data:;base64,{BASE64}", id="without a type"),
        pytest.param(f"DATA:image/png;charset=x;BASE64,{BASE64}", id="capitals and parameters"),
        pytest.param(
            f"data:;base64,{BASE64.replace('+', '%2B').replace('=', '%3D')}", id="escaped base64"
        ),
        pytest.param(
            "data:;base64,\n" + "\n".join(BASE64[i : i + 76] for i in (0, 76, 152, 228, 304)),
            id="base64 in lines",
        ),
        pytest.param(f"data:image/png;base64;charset=utf-8,{BASE64}", id="base64 not at the end"),
        pytest.param(f"data:image/png ; base64 ,{BASE64}", id="spaces around base64"),
        pytest.param(f"data:;base64,{BASE64.replace('+', '-').replace('/', '_')}", id="URL-safe"),
        pytest.param(f"data:;base64,{BASE64.rstrip('=')}", id="no padding"),
        pytest.param(f"data:;base64,{BASE64}==", id="too much padding"),
        pytest.param("data:image/png," + "".join(f"%{byte:02x}" for byte in CONTENT), id="escaped"),
    ],
)
def test_a_data_uri_gives_its_bytes(uri: str) -> None:
    assert read_data_uri(uri, limit_bytes=1000) == CONTENT


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        pytest.param("data:image/png;base64", "no comma", id="no content"),
        pytest.param("data:;base64,QUJDR", "5 characters .* missing", id="cut"),
        pytest.param("data:;base64,QU==JD", "base64", id="padding in the middle"),
        pytest.param("data:;base64,Q!JD", "base64", id="another character"),
        pytest.param("data:;base64,QUJé", "base64", id="not ASCII"),
    ],
)
def test_a_bad_data_uri_is_refused_with_the_reason(uri: str, reason: str) -> None:
    with pytest.raises(MediaUnreadable, match=reason):
        read_data_uri(uri, limit_bytes=1000)


@pytest.mark.parametrize("before", ["", " ", "\n\t", "\ufeff", "\ufeff "])
def test_what_stands_before_an_address_is_taken_off(before: str) -> None:
    assert trimmed(f"{before}data:,x\n") == "data:,x"


@pytest.mark.parametrize("uri", [f"data:;base64,{BASE64}", "data:," + "a" * 256])
def test_too_much_content_is_refused(uri: str) -> None:
    with pytest.raises(MediaTooLarge):
        read_data_uri(uri, limit_bytes=200)
