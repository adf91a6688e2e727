"""Gradio's files reach a browser whole, compressed once, and only by their own names."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from gradio.route_utils import BUILD_PATH_LIB
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from llava_serve.web.gradio_files import GradioFiles, _compressed

SCRIPT = next(Path(BUILD_PATH_LIB).glob("index-*.js"))
STYLE = next(Path(BUILD_PATH_LIB).glob("index-*.css"))
LARGE = max(Path(BUILD_PATH_LIB).glob("*.js"), key=lambda file: file.stat().st_size)


async def passed_on(_: Request) -> Response:
    return PlainTextResponse("passed on")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Route("/{path:path}", passed_on)])
    transport = httpx.ASGITransport(GradioFiles(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        yield client


@pytest.mark.parametrize("encoding", ["br", "gzip"])
@pytest.mark.parametrize(
    ("file", "mime"), [(SCRIPT, "text/javascript"), (STYLE, "text/css")], ids=["script", "style"]
)
async def test_a_file_arrives_whole_and_is_compressed_once(
    http: httpx.AsyncClient, file: Path, mime: str, encoding: str
) -> None:
    asked = {"Accept-Encoding": f"deflate, {encoding}"}
    first = await http.get(f"/assets/{file.name}", headers=asked)
    assert first.headers["content-encoding"] == encoding
    assert first.headers["content-type"] == f"{mime}; charset=utf-8"
    assert first.headers["vary"] == "Accept-Encoding"
    content = await asyncio.to_thread(file.read_bytes)
    assert int(first.headers["content-length"]) < len(content) / 2
    assert first.content == content
    work = _compressed.cache_info().misses
    second = await http.get(f"/assets/{file.name}", headers=asked)
    assert second.content == first.content and second.headers == first.headers
    assert _compressed.cache_info().misses == work


@pytest.mark.parametrize(
    "path",
    [
        "/assets/none-12345678.js",
        f"/assets/{'long-' * 30}12345678.js",
        "/assets/..%2Findex-12345678.js",
        f"/assets/{LARGE.name}",
        "/static/js/iframeResizer.contentWindow.min.js",
    ],
)
async def test_what_is_no_small_hashed_file_is_passed_on(
    http: httpx.AsyncClient, path: str
) -> None:
    assert (await http.get(path)).text == "passed on"


@pytest.mark.parametrize("asked", [{"Accept-Encoding": "identity"}, {"Range": "bytes=0-9"}])
async def test_who_asks_for_plain_bytes_is_passed_on(
    http: httpx.AsyncClient, asked: dict[str, str]
) -> None:
    assert (await http.get(f"/assets/{SCRIPT.name}", headers=asked)).text == "passed on"
    assert (await http.head(f"/assets/{SCRIPT.name}")).headers.get("content-encoding") is None
