"""The controller with real workers around the echo engine, asked by the real `openai` client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import openai
import pytest

from llava_serve.cluster.heartbeat import HttpLink, membership
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.media.reader import MediaReader
from llava_serve.serving import bind, served
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import Worker
from tests.cluster.conftest import TOKEN, Cluster, Stack


@asynccontextmanager
async def joined(cluster: Cluster, worker: Worker) -> AsyncIterator[None]:
    """Serve `worker` as its command does: it registers from its own start-up."""
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    is_registered = asyncio.Event()

    async def sleep(_: float) -> None:
        is_registered.set()
        await asyncio.Event().wait()

    @asynccontextmanager
    async def background() -> AsyncIterator[None]:
        async with aiohttp.ClientSession(trust_env=False) as session:
            link = HttpLink(
                session, cluster.address, address, TOKEN, partial(worker.status, worker.engine.card)
            )
            async with membership(link, sleep=sleep):
                yield

    app = build_app(worker, max_body_bytes=50_000_000, background=background)
    async with served(app, port=port):
        await is_registered.wait()
        yield


def worker_of(engine: EchoEngine) -> Worker:
    return Worker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id=engine.card.id)


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
    async with worker.gate.slot(), worker.gate.slot():  # both slots are free only if it stopped
        assert engine.running == 0
