"""A first script stands at the beginning of the page, and of nothing else."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from llava_serve.web.first_script import FirstScript

PAGE = "<html><head><title>ä</title></head><body>&lt;head></body></html>"
WITH_SCRIPT = PAGE.replace("<head>", "<head><script>first()</script>", 1)


async def page(request: Request) -> Response:
    match request.query_params.get("as"):
        case "text":
            return PlainTextResponse(PAGE)
        case "stream":
            return StreamingResponse((PAGE[at] for at in range(len(PAGE))), media_type="text/html")
        case _:
            return HTMLResponse(PAGE)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[Route("/", page), Route("/other", page)])
    app.add_middleware(GZipMiddleware, minimum_size=10)  # within, as Gradio's own
    transport = httpx.ASGITransport(FirstScript(app, "first()"))
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/?as=stream"])
async def test_it_comes_before_all_that_is_in_the_head(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.text == WITH_SCRIPT
    assert int(answer.headers["content-length"]) == len(WITH_SCRIPT.encode())


@pytest.mark.parametrize("path", ["/?as=text", "/other"])
async def test_what_is_no_page_stays_as_it_is(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).text == PAGE
