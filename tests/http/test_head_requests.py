import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from llava_serve.http import serving
from llava_serve.http.body import BodyLimits


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    serving.prepare(app, BodyLimits(max_bytes=2000, max_text_bytes=1000))
    app.state.ended = asyncio.Event()

    @app.get("/models")
    async def models() -> dict[str, str]:
        return {"model": "echo"}

    @app.post("/ask")
    async def ask() -> None: ...

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"data: more\n\n"
                    await asyncio.sleep(0.01)
            finally:
                app.state.ended.set()

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


async def test_head_has_the_status_and_headers_of_get_and_no_body(app: FastAPI) -> None:
    async with serving.served(app) as address, httpx.AsyncClient(trust_env=False) as client:
        head, get = await client.head(f"{address}/models"), await client.get(f"{address}/models")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
        assert (await client.get(f"{address}/models")).json() == {"model": "echo"}


async def test_where_get_fails_head_fails_alike(app: FastAPI) -> None:
    async with serving.served(app) as address, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.head(f"{address}/nothing")).status_code == 404
        assert (await client.head(f"{address}/ask")).status_code == 405


async def test_a_stream_that_nobody_reads_ends(app: FastAPI) -> None:
    async with serving.served(app) as address, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.head(f"{address}/endless")
        assert answer.headers["content-type"].startswith("text/event-stream")
        async with asyncio.timeout(10):
            await app.state.ended.wait()
