"""Our own programs get whole answers, or an error that names who failed."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import aiohttp
import pytest
from fastapi import FastAPI, Request, Response

from llava_serve.client import ChatClient
from llava_serve.errors import ControllerLost, ControllerUnreachable, NoWorker, RemoteError
from llava_serve.http.serving import served
from llava_serve.protocol import sse
from llava_serve.protocol.line_place import LinePlace

CHUNK = sse.encode(
    json.dumps(
        {
            "id": "a",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": "hi"}}],
        }
    )
)
FAILED = sse.encode(json.dumps(NoWorker("m").as_body("req-1")))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


def answering(status: int, content: bytes, seen: list[Request] | None = None) -> FastAPI:
    """Return an app that answers every request the same."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def answer(request: Request) -> Response:
        await request.body()
        if seen is not None:
            seen.append(request)
        return Response(content, status)

    return app


async def texts(client: ChatClient, request_id: str | None = None) -> list[str | None]:
    async with aclosing(client.stream({"model": "m"}, request_id)) as chunks:
        return [chunk.choices[0].delta.content async for chunk in chunks]


async def test_an_answer_streams_under_the_id_it_was_given(session: aiohttp.ClientSession) -> None:
    seen: list[Request] = []
    stream = sse.KEEP_ALIVE + CHUNK + CHUNK + sse.encode(sse.DONE)
    async with served(answering(200, stream, seen)) as address:
        assert await texts(ChatClient(address + "/", session), "mine-1") == ["hi", "hi"]
    assert seen[0].headers["x-request-id"] == "mine-1"
    body = await seen[0].json()
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


async def test_what_opens_the_controller_is_shown_with_each_call(
    session: aiohttp.ClientSession,
) -> None:
    seen: list[Request] = []
    secrets = iter(("one", "two", "three"))
    async with served(answering(200, CHUNK + sse.encode(sse.DONE), seen)) as address:
        client = ChatClient(address, session, lambda: {"Authorization": next(secrets)})
        await texts(client)
        async with aclosing(client.stream({"model": "m"}, user="7f")) as chunks:
            assert [chunk async for chunk in chunks]
        with pytest.raises(RemoteError):
            await client.models()
    assert [request.headers["authorization"] for request in seen] == ["one", "two", "three"]
    assert [request.headers.get("x-llava-user") for request in seen] == [None, "7f", None]


async def test_the_place_in_line_is_told_while_it_waits(session: aiohttp.ClientSession) -> None:
    places: list[LinePlace | None] = []
    waits = LinePlace(2, 3).encode() + LinePlace(1, 2, 8).encode() + sse.KEEP_ALIVE
    async with served(answering(200, waits + CHUNK + sse.encode(sse.DONE))) as address:
        stream = ChatClient(address, session).stream({"model": "m"}, on_place=places.append)
        async with aclosing(stream) as chunks:
            assert len([chunk async for chunk in chunks]) == 1
    assert places == [LinePlace(2, 3), LinePlace(1, 2, 8), None]


@pytest.mark.parametrize(("status", "content"), [(503, FAILED[6:]), (200, CHUNK + FAILED)])
async def test_an_error_arrives_as_it_was_sent(
    session: aiohttp.ClientSession, status: int, content: bytes
) -> None:
    async with served(answering(status, content)) as address:
        with pytest.raises(RemoteError, match="no live worker serves 'm'") as refused:
            await texts(ChatClient(address, session))
    assert (refused.value.code, refused.value.remedy) == ("no_worker", NoWorker.remedy)


async def test_an_answer_without_its_end_is_lost(session: aiohttp.ClientSession) -> None:
    async with served(answering(200, CHUNK)) as address:
        with pytest.raises(ControllerLost, match="without its last event"):
            await texts(ChatClient(address, session))


@pytest.mark.parametrize(
    "content",
    [b"data: hello\n\n", b"data: {}\n\n", b"data: [1]\n\n", b"data: 5\n\n", b"data: null\n\n"],
)
async def test_another_server_at_the_address_is_said_to_be_one(
    session: aiohttp.ClientSession, content: bytes
) -> None:
    async with served(answering(200, content)) as address:
        client = ChatClient(address, session)
        for asking in (texts(client), client.models()):
            with pytest.raises(RemoteError, match="is not a controller of llava_serve"):
                await asking


async def test_an_answer_without_end_is_not_kept(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_serve.client._MOST_BYTES", 3 * len(CHUNK))
    async with served(answering(200, CHUNK * 100)) as address:
        with pytest.raises(RemoteError, match="the answer is larger than") as refused:
            await texts(ChatClient(address, session))
    assert refused.value.code == "answer_too_large"


async def test_nobody_at_the_address_is_out_of_reach(
    session: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    client = ChatClient(f"http://127.0.0.1:{unused_tcp_port}", session)
    for asking in (texts(client), client.models()):
        with pytest.raises(ControllerUnreachable, match="connection refused"):
            await asking
