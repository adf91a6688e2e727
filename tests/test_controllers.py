"""Of several controllers the next is asked where one is away, until an answer has begun."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from llava_serve.client import ChatClient
from llava_serve.config import MediaConfig
from llava_serve.controllers import Controllers
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import (
    Busy,
    ControllerLost,
    ControllerUnreachable,
    Interrupted,
    ModelNotFound,
    NoWorker,
    RemoteError,
    ServeError,
    ShuttingDown,
)
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.protocol import sse
from llava_serve.protocol.model_card import ModelCard, ModelList
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

NOBODY = "http://127.0.0.1:9"
CARD = ModelCard(id="m", context_length=9, accepts_images=True, accepts_video=True, engine="echo")


def chunk(**delta: str) -> bytes:
    choice = {"index": 0, "delta": delta}
    record = {"id": "a", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return sse.encode(json.dumps(record | {"choices": [choice]}))


ROLE, HI, DONE = chunk(role="assistant", content=""), chunk(content="hi"), sse.encode(sse.DONE)


def failed(error: ServeError) -> bytes:
    return sse.encode(json.dumps(error.as_body("req-1")))


class Scripted:
    """A controller that answers with these bytes, and lists these models."""

    def __init__(self, content: bytes = HI + DONE, *cards: ModelCard) -> None:
        self.asked: list[dict[str, Any]] = []
        self.app = FastAPI()

        @self.app.post("/v1/chat/completions")
        async def answer(request: Request) -> Response:
            self.asked.append(await request.json())
            return Response(content)

        @self.app.get("/v1/models")
        async def models() -> ModelList:
            return ModelList(data=list(cards))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


async def text(controllers: Controllers) -> str:
    async with aclosing(controllers.stream({"model": "m"})) as chunks:
        contents = [one.choices[0].delta.content async for one in chunks]
    return "".join(filter(None, contents))


def asking(session: aiohttp.ClientSession, *addresses: str) -> Controllers:
    return Controllers([ChatClient(address, session) for address in addresses])


async def test_the_next_is_asked_where_one_is_away_and_then_first(
    session: aiohttp.ClientSession,
) -> None:
    one = Scripted()
    async with served(one.app) as address:
        controllers = asking(session, NOBODY, address)
        assert controllers.address == f"{NOBODY}, {address}"
        assert await text(controllers) == "hi"
        assert controllers.address == f"{address}, {NOBODY}"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="it died before the first byte"),
        pytest.param(sse.KEEP_ALIVE + ROLE, id="it died before the first text"),
        pytest.param(failed(NoWorker("m")), id="it knows no worker"),
        pytest.param(ROLE + failed(Interrupted()), id="it stops"),
        pytest.param(failed(ShuttingDown()), id="it takes nothing new"),
    ],
)
async def test_what_has_not_begun_to_be_answered_is_asked_of_the_next(
    session: aiohttp.ClientSession, content: bytes
) -> None:
    lost, other = Scripted(content), Scripted()
    async with served(lost.app) as first, served(other.app) as second:
        assert await text(asking(session, first, second)) == "hi"
    assert len(lost.asked) == 1
    assert lost.asked == other.asked


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(ROLE + HI, ControllerLost, id="text came"),
        pytest.param(HI + failed(Interrupted()), RemoteError, id="text came, then an error"),
        pytest.param(failed(Busy(1, 1, 1, 1)), RemoteError, id="another is as busy"),
        pytest.param(failed(ModelNotFound("m", [])), RemoteError, id="the request is wrong"),
    ],
)
async def test_an_answer_that_has_begun_or_a_refusal_is_not_asked_for_again(
    session: aiohttp.ClientSession, content: bytes, error: type[ServeError]
) -> None:
    lost, other = Scripted(content), Scripted()
    async with served(lost.app) as first, served(other.app) as second:
        with pytest.raises(error):
            await text(asking(session, first, second))
    assert other.asked == []


async def test_an_inspection_is_asked_of_the_next_where_one_is_away_or_cannot(
    session: aiohttp.ClientSession,
) -> None:
    def refusing(error: ServeError) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/inspect")
        async def inspect() -> Response:
            return JSONResponse(error.as_body(), error.status)

        return app

    worker = ModelWorker(EchoEngine("m"), Gate(1, 1), MediaReader(MediaConfig()), worker_id="m")
    body = {"model": "m", "messages": [{"role": "user", "content": "one two"}]}
    async with (
        served(refusing(NoWorker("m"))) as lacking,
        served(refusing(ModelNotFound("m", []))) as wrong,
        served(build_worker(worker, max_body_bytes=10_000)) as telling,
    ):
        told = await asking(session, NOBODY, lacking, telling).inspect(body, with_pixels=True)
        assert told.prompt is not None and told.prompt.tokens == 2
        with pytest.raises(RemoteError, match="'m'"):
            await asking(session, wrong, telling).inspect(body)
        with pytest.raises(ControllerUnreachable):
            await asking(session, NOBODY).inspect(body)


async def test_where_none_answers_all_are_named(session: aiohttp.ClientSession) -> None:
    controllers = asking(session, NOBODY, "http://127.0.0.1:10")
    for work in (text(controllers), controllers.models()):
        with pytest.raises(ControllerUnreachable, match=f"{NOBODY}, http://127.0.0.1:10: .*; "):
            await work


async def test_what_a_controller_says_tells_more_than_that_another_is_away(
    session: aiohttp.ClientSession,
) -> None:
    async with served(Scripted(failed(NoWorker("m"))).app) as address:
        with pytest.raises(RemoteError, match="no live worker serves 'm'"):
            await text(asking(session, address, NOBODY))


async def test_models_are_those_of_the_first_that_serves_any(
    session: aiohttp.ClientSession,
) -> None:
    async with served(Scripted().app) as empty, served(Scripted(DONE, CARD).app) as full:
        controllers = asking(session, NOBODY, empty, full)
        assert [card.id for card in await controllers.models()] == ["m"]
        assert controllers.address.startswith(full)
        assert await asking(session, empty, NOBODY).models() == []
