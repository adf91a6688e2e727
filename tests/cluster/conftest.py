"""A controller and workers on real sockets, in one event loop."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.upstream import UpstreamLimits
from llava_serve.cluster.waiting.line import LineLimits
from llava_serve.http.body import BodyLimits
from llava_serve.http.serving import served
from llava_serve.protocol import sse
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.llava import LlavaChunk
from llava_serve.protocol.model_card import ModelCard

Entered = TypeVar("Entered")

TOKEN = "the-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def status_of(model: str = "echo", worker_id: str | None = "id", **fields: Any) -> WorkerStatus:
    card = ModelCard(
        id=model, context_length=100, accepts_images=True, accepts_video=True, engine="echo"
    )
    return WorkerStatus(model_names=[model], worker_id=worker_id, cards=[card], **fields)


def chat(text: str = "one two", model: str = "echo", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]} | fields


@dataclass
class EchoWorker:
    """A small worker: repeats the last message word by word, on both wires.

    Clear `may_go_on` to hold every stream behind its first word. So many streams are broken off
    before their first word as `breaks` says.
    """

    model: str = "echo"
    is_legacy: bool = False
    capacity: int | None = None
    address: str = ""
    running: int = 0
    breaks: int = 0
    status_calls: int = 0
    was_shown: str | None = None  # by the last of those
    seen: list[Request] = field(default_factory=list)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    at_it: asyncio.Event = field(default_factory=asyncio.Event)  # behind a first word
    all_stopped: asyncio.Event = field(default_factory=asyncio.Event)
    worker_id: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        self.may_go_on.set()

    @property
    def status(self) -> WorkerStatus:
        if self.is_legacy:
            return WorkerStatus(model_names=[self.model], queue_length=self.running)
        counts = {"queue_length": self.running, "capacity": self.capacity}
        return status_of(self.model, self.worker_id, **counts)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/worker_get_status")
        async def worker_get_status(request: Request) -> WorkerStatus:
            self.status_calls += 1
            self.was_shown = request.headers.get("authorization")
            return self.status

        @app.post("/v1/chat/completions")
        async def chat_completions(request: Request) -> Response:
            self.seen.append(request)
            body = await request.json()
            words = body["messages"][-1]["content"].split()
            if words == ["refuse"]:
                return Response('{"error": {"message": "no"}}', 418, {"X-Why": "teapot"})
            if not body.get("stream"):
                return Response(json.dumps({"said": words}), media_type="application/json")
            events = (sse.encode(json.dumps({"said": word})) for word in words)
            return StreamingResponse(
                self._held([*events, sse.encode(sse.DONE)]),
                headers=sse.HEADERS,
                media_type=sse.MEDIA_TYPE,
            )

        @app.post("/worker_generate_stream")
        async def worker_generate_stream(request: Request) -> StreamingResponse:
            self.seen.append(request)
            prompt = (await request.json())["prompt"]
            words = prompt.split()
            texts = [prompt + " ".join(words[: i + 1]) for i in range(len(words))]
            return StreamingResponse(self._held([LlavaChunk(text=text).encode() for text in texts]))

        return app

    async def _held(self, chunks: list[bytes]) -> AsyncIterator[bytes]:
        if self.breaks:
            self.breaks -= 1
            raise ConnectionResetError
        self.running += 1
        try:
            for chunk in chunks:
                yield chunk
                self.at_it.set()
                await self.may_go_on.wait()
        finally:
            self.running -= 1
            if not self.running:
                self.all_stopped.set()


@dataclass(frozen=True)
class Cluster:
    address: str
    workers: Registry
    http: httpx.AsyncClient
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)  # ended with it


StartController = Callable[..., Awaitable[Cluster]]
StartWorker = Callable[..., Awaitable[EchoWorker]]
StartRawWorker = Callable[..., Awaitable["RawWorker"]]


@asynccontextmanager
async def _controller(
    trusted: frozenset[str], settings: ControllerSettings
) -> AsyncIterator[Cluster]:
    workers = Registry(shortest_queue)
    app = build_app(workers, AdmissionPolicy(TOKEN, trusted), settings)
    async with (
        served(app) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as http,
    ):
        cluster = Cluster(address, workers, http)
        yield cluster
        for task in cluster.tasks:
            task.cancel()
        await asyncio.gather(*cluster.tasks, return_exceptions=True)


class Stack:
    """Contexts that are all left at once: one after the other, servers take their time to stop."""

    def __init__(self) -> None:
        self._end = asyncio.Event()
        self._held: list[asyncio.Task[None]] = []

    async def enter(self, context: AbstractAsyncContextManager[Entered]) -> Entered:
        entered: asyncio.Future[Entered] = asyncio.get_running_loop().create_future()

        async def hold() -> None:
            async with context as value:
                entered.set_result(value)
                await self._end.wait()

        holding = asyncio.create_task(hold())
        self._held.append(holding)
        await asyncio.wait((holding, entered), return_when=asyncio.FIRST_COMPLETED)
        if holding.done():
            holding.result()
        return entered.result()

    async def leave(self) -> None:
        self._end.set()
        await asyncio.gather(*self._held)


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    stack = Stack()
    yield stack
    await stack.leave()


@pytest.fixture
def start_controller(stack: Stack) -> StartController:
    async def start(
        trusted: frozenset[str] = frozenset(),
        bodies: BodyLimits | None = None,
        waiting: LineLimits | None = None,
        resumes: bool = True,
        **limits: float,
    ) -> Cluster:
        settings = ControllerSettings(
            limits=UpstreamLimits(**limits),
            bodies=bodies or BodyLimits(max_bytes=50_000_000),
            waiting=waiting or LineLimits(),
            resumes=resumes,
        )
        return await stack.enter(_controller(trusted, settings))

    return start


@pytest.fixture
async def cluster(start_controller: StartController) -> Cluster:
    return await start_controller()


@pytest.fixture
def start_worker(stack: Stack) -> StartWorker:
    """Start an `EchoWorker`; given a controller, it joins."""

    async def start(cluster: Cluster | None = None, **fields: Any) -> EchoWorker:
        worker = EchoWorker(**fields)
        worker.address = await stack.enter(served(worker.app()))
        if cluster is not None:
            await register(cluster, worker)
        return worker

    return start


async def register(cluster: Cluster, worker: EchoWorker, **headers: str) -> httpx.Response:
    body = {"worker_name": worker.address, "worker_status": worker.status.model_dump()}
    shown = headers or ({} if worker.is_legacy else BEARER)
    return await cluster.http.post("/register_worker", json=body, headers=shown)


@dataclass
class RawWorker:
    """A server that answers every request with the same bytes, and then closes or is silent."""

    answer: bytes
    then_silent: bool
    address: str = ""
    head: bytes = b""  # of the last request
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        self.address = f"http://{host}:{port}"
        async with server:
            yield

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = await reader.readuntil(b"\r\n\r\n")
        head = self.head.decode().lower()
        await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
        self.asked.set()
        writer.write(self.answer)
        await writer.drain()
        if self.then_silent:
            await reader.read()
            self.left.set()
        writer.close()


@pytest.fixture
def start_raw_worker(stack: Stack) -> StartRawWorker:
    async def start(answer: bytes, *, then_silent: bool = False) -> RawWorker:
        worker = RawWorker(answer, then_silent)
        await stack.enter(worker.serving())
        return worker

    return start


def chunked(kind: str, *chunks: bytes, is_complete: bool = False) -> bytes:
    """Return a chunked HTTP answer; an incomplete one lacks its last chunk."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head.encode() + body + (b"0\r\n\r\n" if is_complete else b"")
