"""A worker around the echo engine, or around one that follows a script, in this process."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.config import MediaConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import InspectionUnsupported
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import (
    Delta,
    DetokenizeRequest,
    GenerateRequest,
    InspectRequest,
    TokenizeRequest,
)
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

MAX_BODY_BYTES = 50_000_000

Step = str | Delta | Exception | asyncio.Event


class ScriptedEngine:
    """Yields texts and deltas, raises errors and waits for events, in the order of its script."""

    def __init__(self, *script: Step) -> None:
        self.card = EchoEngine("scripted").card
        self.healthy = True
        self.fingerprint = None
        self.precision = None
        self.slots = 2
        self.running = 0
        self.asked: list[GenerateRequest] = []
        self._script = script

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        self.asked.append(request)
        self.running += 1
        try:
            for step in self._script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield Delta(step) if isinstance(step, str) else step
        finally:
            self.running -= 1

    async def inspect(self, request: InspectRequest) -> Inspection:
        raise InspectionUnsupported(self.card.id)

    async def tokenize(self, request: TokenizeRequest) -> Tokenization:
        return await EchoEngine().tokenize(request)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenization:
        return await EchoEngine().detokenize(request)

    def status(self) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Do nothing."""


MakeWorker = Callable[..., ModelWorker]
ClientOf = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def make_worker() -> MakeWorker:
    def make(engine: Engine, limit: int = 2, max_waiting: int = 2) -> ModelWorker:
        media = MediaReader(MediaConfig())
        return ModelWorker(engine, Gate(limit, max_waiting), media, worker_id="this-one")

    return make


@pytest.fixture
def scripted() -> type[ScriptedEngine]:
    return ScriptedEngine


@pytest.fixture
def worker(make_worker: MakeWorker) -> ModelWorker:
    return make_worker(EchoEngine("echo"))


@pytest.fixture
def app(worker: ModelWorker) -> FastAPI:
    return build_app(worker, max_body_bytes=MAX_BODY_BYTES)


@pytest.fixture
def client_of() -> ClientOf:
    """Open an app and a client that reaches it without a socket."""

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            yield client

    return opened


@pytest.fixture
async def http(app: FastAPI, client_of: ClientOf) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client
