"""Clients that leave at any moment, over real sockets, stop the work and free their slot."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.request import Delta, GenerateRequest
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

NATIVE, OLD = "/v1/chat/completions", "/worker_generate_stream"
BODIES: list[tuple[str, dict[str, Any]]] = [
    (NATIVE, {"messages": [{"role": "user", "content": "go"}], "stream": True}),
    (NATIVE, {"messages": [{"role": "user", "content": "go"}]}),
    (NATIVE, {"messages": [{"role": "user", "content": "go"}], "stream": True, "n": 4}),
    (OLD, {"prompt": "go"}),
]


class EndlessEngine:
    """Talks until it is stopped: what ends after this was stopped."""

    def __init__(self) -> None:
        self.card = EchoEngine("endless").card
        self.healthy = True
        self.fingerprint = None
        self.precision = None
        self.running = 0
        self.started = asyncio.Event()

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        self.running += 1
        self.started.set()
        try:
            while True:
                await asyncio.sleep(0.001)
                yield Delta("more ")
        finally:
            self.running -= 1

    def status(self) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Do nothing."""


async def send_request(address: str, path: str, body: dict[str, Any]) -> Any:
    """Return the reader and the writer of a connection that has asked."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = json.dumps(body | {"model": "endless"}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    return reader, writer


async def ask_and_leave(address: str, rng: random.Random) -> None:
    path, body = rng.choice(BODIES)
    stays_s, reads, is_rude = rng.uniform(0, 0.05), rng.randrange(500), rng.random() < 0.5
    reader, writer = await send_request(address, path, body)
    with anyio.move_on_after(stays_s):
        await reader.readexactly(reads)
    if is_rude:
        writer.transport.abort()
    else:
        writer.close()
    with anyio.move_on_after(1):
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def take_every_slot(gate: Gate) -> None:
    """Return when nobody else holds a slot: the line is first come, first served."""
    async with AsyncExitStack() as stack:
        for _ in range(gate.limit):
            await stack.enter_async_context(gate.slots(1, partial(asyncio.sleep, 0)))


async def test_200_clients_that_leave_leave_nothing_behind(
    make_worker: Callable[..., ModelWorker],
) -> None:
    engine = EndlessEngine()
    worker = make_worker(engine, limit=4, max_waiting=900)
    rng = random.Random(7)
    async with served(build_app(worker, max_body_bytes=1000)) as address:
        with anyio.fail_after(60):
            await asyncio.gather(*(ask_and_leave(address, rng) for _ in range(200)))
            await take_every_slot(worker.gate)
        async with httpx.AsyncClient() as http:
            metrics = (await http.get(f"{address}/metrics")).text.splitlines()
    assert engine.running == 0
    assert engine.started.is_set()
    assert "llava_worker_running 0.0" in metrics
    assert "llava_worker_waiting 0.0" in metrics
    outcomes = [line for line in metrics if line.startswith("llava_worker_requests_total")]
    assert len(outcomes) == 1
    assert 'outcome="cancelled"' in outcomes[0]


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_a_client_that_leaves_stops_the_engine_and_frees_the_slot(
    make_worker: Callable[..., ModelWorker], path: str, body: dict[str, Any]
) -> None:
    engine = EndlessEngine()
    worker = make_worker(engine, limit=1, max_waiting=1)
    async with served(build_app(worker, max_body_bytes=1000)) as address:
        _, writer = await send_request(address, path, body)
        await engine.started.wait()
        writer.close()
        with anyio.fail_after(30):
            await take_every_slot(worker.gate)
        assert engine.running == 0
        await writer.wait_closed()
    assert b"llava_worker_cancel_to_free_seconds_count 1.0" in worker.metrics.text()


async def test_a_slow_reader_keeps_no_slot_once_its_answer_is_made(
    make_worker: Callable[..., ModelWorker],
) -> None:
    worker = make_worker(EchoEngine("endless"), limit=1, max_waiting=1)
    long = {"prompt": "word " * 2000, "max_new_tokens": 2000}  # 2000 chunks of up to 20 kB
    async with served(build_app(worker, max_body_bytes=100_000)) as address:
        _, writer = await send_request(address, OLD, long)
        async with httpx.AsyncClient() as http:
            body = {"model": "endless", "messages": [{"role": "user", "content": "hi"}]}
            answer = await http.post(f"{address}{NATIVE}", json=body, timeout=30)
        assert answer.status_code == 200
        writer.transport.abort()


async def test_a_client_that_leaves_the_line_is_never_served(
    make_worker: Callable[..., ModelWorker],
) -> None:
    engine = EndlessEngine()
    worker = make_worker(engine, limit=1, max_waiting=1)
    async with served(build_app(worker, max_body_bytes=1000)) as address:
        async with worker.gate.slots(1, partial(asyncio.sleep, 0)):
            _, writer = await send_request(address, *BODIES[0])
            writer.write_eof()
            writer.close()
            await writer.wait_closed()
        with anyio.fail_after(30):
            await take_every_slot(worker.gate)
    assert engine.running == 0
