"""What a browser loads of the page: compressed, kept for as long as it is true, nothing unused."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from llava_serve.http import serving
from llava_serve.web.app import build_app
from tests.web.conftest import MakeServices


@pytest.fixture
async def http(make_services: MakeServices) -> AsyncIterator[httpx.AsyncClient]:
    page = build_app(make_services("http://127.0.0.1:9"))
    async with (
        serving.served(page.app, page.before_stop) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=60) as client,
    ):
        yield client


async def scripts(http: httpx.AsyncClient) -> list[str]:
    """Return the paths of every script that the page's main script knows of."""
    main = re.search(r"assets/index-[\w-]+\.js", (await http.get("/")).text)
    assert main is not None
    core = (await http.get("/" + main[0])).text
    return re.findall(r"core-[\w-]+\.js", core)


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css"])
async def test_what_is_text_is_compressed(http: httpx.AsyncClient, path: str) -> None:
    async with http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as reply:
        sent = b"".join([part async for part in reply.aiter_raw()])
    assert reply.headers["content-encoding"] == "gzip"
    plain = await http.get(path, headers={"Accept-Encoding": "identity"})
    assert len(sent) < len(plain.content) / 3


async def test_an_event_stream_is_never_compressed(http: httpx.AsyncClient) -> None:
    path = "/gradio_api/heartbeat/one"
    async with http.stream("GET", path, headers={"Accept-Encoding": "gzip, br"}) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in reply.headers


async def test_a_file_whose_name_is_its_hash_is_kept_for_ever(http: httpx.AsyncClient) -> None:
    (core, *_) = await scripts(http)
    kept = (await http.get(f"/assets/{core}")).headers["cache-control"]
    assert "immutable" in kept and "max-age=31536000" in kept
    assert (await http.get("/theme.css?v=1")).headers["cache-control"] == kept
    assert (await http.get("/assets/none-12345678.js")).headers.get("cache-control") is None


@pytest.mark.parametrize("path", ["/", "/config", "/theme.css"])
async def test_what_may_change_is_asked_for_each_time(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).headers["cache-control"] == "no-cache"


async def test_the_script_for_live_streams_is_a_stub_with_its_names(
    http: httpx.AsyncClient,
) -> None:
    (core, *_) = await scripts(http)
    name = re.search(r"hls-[\w-]+\.js", (await http.get(f"/assets/{core}")).text)
    assert name is not None
    stub = await http.get(f"/assets/{name[0]}")
    assert len(stub.content) < 500
    assert stub.headers["content-type"].startswith("text/javascript")
    assert re.search(r"export \{ none as \w+, none as", stub.text)
