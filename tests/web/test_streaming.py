"""How the answers of a question come and stop."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from llava_serve.client import ChatClient
from llava_serve.controllers import Controllers
from llava_serve.errors import AnswerInterrupted
from llava_serve.http.serving import served
from llava_serve.protocol import sse
from llava_serve.protocol.line_place import LinePlace
from llava_serve.web import render
from llava_serve.web.reply import StreamedReply
from llava_serve.web.streaming import fill, streaming


async def test_a_second_stop_does_not_break_off_what_the_first_closes() -> None:
    closing, may_close, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closing.set()
            await may_close.wait()
            closed.set()

    reply = StreamedReply("echo")
    async with streaming(work(), [reply]) as running:
        await asyncio.sleep(0)  # until the work has begun
        running.stop()
        await closing.wait()
        running.stop(AnswerInterrupted())
        may_close.set()
    assert closed.is_set()
    assert (reply.state, reply.error) == ("stopped", None)


async def test_a_reply_shows_its_place_in_line_until_its_turn() -> None:
    app, has_turn = FastAPI(), asyncio.Event()

    @app.post("/v1/chat/completions")
    async def answer() -> StreamingResponse:
        async def records() -> AsyncIterator[bytes]:
            yield LinePlace(3, 4, 8).encode()
            await has_turn.wait()
            yield sse.KEEP_ALIVE + sse.encode(sse.DONE)

        return StreamingResponse(records(), media_type=sse.MEDIA_TYPE)

    shown: list[str] = []

    def show() -> None:
        shown.append(render.reply(reply))
        if reply.place is not None:
            has_turn.set()

    reply = StreamedReply("echo")
    async with served(app) as address, aiohttp.ClientSession(trust_env=False) as session:
        await fill(Controllers([ChatClient(address, session)]), [(reply, {"model": "echo"})], show)
    assert "waiting in line: 2 are before you, about 8 s" in shown[0]
    assert "in line" not in shown[1]
    assert reply.state == "done"
