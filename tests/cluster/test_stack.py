"""The controller with real workers around the echo engine, asked by the real `openai` client."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from llava_serve.cluster.heartbeat import RegistrationClient, membership
from llava_serve.config import MediaConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.engines.sglang.client import SglangClient
from llava_serve.engines.sglang.engine import SglangEngine
from llava_serve.engines.sglang.server import Server
from llava_serve.errors import ShuttingDown
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.request import Delta, GenerateRequest
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.cluster.conftest import TOKEN, Cluster, Stack, chat, status_of
from tests.engines.sglang.conftest import Recorded
from tests.ports import free_port


@asynccontextmanager
async def joined(cluster: Cluster, worker: ModelWorker) -> AsyncIterator[None]:
    """Serve `worker` as its command does: it registers from its own start-up."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    is_registered = asyncio.Event()

    async def sleep(_: float) -> None:
        is_registered.set()
        await asyncio.Event().wait()

    @asynccontextmanager
    async def background() -> AsyncIterator[None]:
        async with aiohttp.ClientSession(trust_env=False) as session:
            link = RegistrationClient(
                session, cluster.address, address, TOKEN, partial(worker.status, worker.engine.card)
            )
            async with membership(link, sleep=sleep):
                yield

    app = build_app(worker, max_body_bytes=50_000_000, background=background)
    async with served(app, port=port):
        await is_registered.wait()
        yield


def worker_of(engine: Engine) -> ModelWorker:
    return ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id=engine.card.id)


@pytest.fixture
async def engine(cluster: Cluster, stack: Stack) -> EchoEngine:
    engine = EchoEngine("echo")
    await stack.enter(joined(cluster, worker_of(engine)))
    return engine


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=cluster.address + "/v1", api_key="none", max_retries=0
    ) as client:
        yield client


async def test_a_worker_joins_from_its_start_up_and_leaves_when_it_stops(cluster: Cluster) -> None:
    async with joined(cluster, worker_of(EchoEngine())):
        assert [worker.is_reachable for worker in cluster.workers.known()] == [True]
    assert cluster.workers.known() == []


async def test_an_answer_streams_with_usage(engine: EchoEngine, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "one two three"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert "".join(text or "" for text in texts) == "one two three"
    assert len([text for text in texts if text]) == 3
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


async def test_the_worker_s_own_error_arrives_whole(
    engine: EchoEngine, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "hi"}], max_tokens=100_000
        )
    assert refused.value.code == "context_length_exceeded"
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["request_id"] == refused.value.request_id


async def test_closing_a_stream_stops_the_engine(
    cluster: Cluster, stack: Stack, client: openai.AsyncOpenAI
) -> None:
    engine = EchoEngine("slow", delay_s=0.01)
    worker = worker_of(engine)
    await stack.enter(joined(cluster, worker))
    stream = await client.chat.completions.create(
        model="slow", messages=[{"role": "user", "content": "word " * 2000}], stream=True
    )
    await anext(aiter(stream))
    assert (engine.running, worker.gate.running) == (1, 1)
    await stream.close()
    async with (
        worker.gate.slots(1, partial(asyncio.sleep, 0)),
        worker.gate.slots(1, partial(asyncio.sleep, 0)),
    ):  # both slots are free only if it stopped
        assert engine.running == 0


@asynccontextmanager
async def before_a_dead_server(name: str) -> AsyncIterator[SglangEngine]:
    """Hold an engine whose SGLang server is gone, and that has not noticed yet."""
    async with AsyncExitStack() as running:
        async with served(Recorded().app()) as endpoint:
            client = SglangClient(endpoint)
            server = Server(client, name, look_every_s=3600)
            await running.enter_async_context(server.watched())
            await server.change(None)
        yield SglangEngine(client, server)


ASKED = {
    "whole": ("/v1/chat/completions", chat("one two")),
    "streamed": ("/v1/chat/completions", chat("one two", stream=True)),
    "old wire": ("/worker_generate_stream", {"model": "echo", "prompt": "one two"}),
}


@pytest.fixture
async def refusing(cluster: Cluster, stack: Stack, request: pytest.FixtureRequest) -> ModelWorker:
    """Return a member of the cluster that begins nothing, for the reason that is asked for."""
    if request.param == "shutting_down":
        worker = worker_of(EchoEngine())
        worker.gate.close()
    else:
        worker = worker_of(await stack.enter(before_a_dead_server("echo")))
    await stack.enter(joined(cluster, worker))
    return worker


async def ask(cluster: Cluster, asked: str) -> httpx.Response:
    path, body = ASKED[asked]
    return await cluster.http.post(path, json=body)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("refusing", ["sglang_unreachable", "shutting_down"], indirect=True)
async def test_what_a_worker_did_not_begin_goes_to_another(
    cluster: Cluster, stack: Stack, refusing: ModelWorker, asked: str
) -> None:
    other = worker_of(EchoEngine())
    address = await stack.enter(served(build_app(other, max_body_bytes=50_000_000)))
    cluster.workers.register(address, status_of(queue_length=9), time.monotonic())
    answer = await ask(cluster, asked)
    assert answer.status_code == 200
    assert "two" in answer.text
    assert not _errors(answer)
    assert [worker.is_reachable for worker in cluster.workers.known()] == [True, True]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize(
    ("refusing", "reason"),
    [("sglang_unreachable", "no SGLang server is ready"), ("shutting_down", "is stopping")],
    indirect=["refusing"],
)
async def test_what_no_worker_began_ends_with_what_the_last_one_said(
    cluster: Cluster, refusing: ModelWorker, asked: str, reason: str
) -> None:
    answer = await ask(cluster, asked)
    assert answer.status_code == (200 if asked == "old wire" else 503)
    (error,) = _errors(answer)
    assert reason in error
    assert answer.headers["x-not-answered"]  # for a controller before this one


async def test_a_worker_that_leaves_as_it_declines_is_not_an_unknown_model(
    cluster: Cluster, stack: Stack
) -> None:
    class Leaving(EchoEngine):
        """Declines, and is out of the cluster before the controller reads that."""

        async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
            cluster.workers.deregister(address)
            raise ShuttingDown
            yield

    app = build_app(worker_of(Leaving()), max_body_bytes=50_000_000)
    address = await stack.enter(served(app))
    cluster.workers.register(address, status_of(), time.monotonic())
    cluster.workers.register("http://other", status_of("other"), time.monotonic())
    answer = await ask(cluster, "whole")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")


def _errors(answer: httpx.Response) -> list[str]:
    """Return the messages of the errors in an answer of either wire."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = answer.content.removesuffix(b"data: [DONE]\n\n").split(b"\n\n")
    else:
        lines = answer.content.split(b"\0")
    records = [line.removeprefix(b"data: ") for line in lines if line]
    told: list[dict[str, Any]] = [json.loads(record) for record in records]
    old = [one["text"] for one in told if one.get("error_code")]
    return old + [one["error"]["message"] for one in told if "error" in one]
