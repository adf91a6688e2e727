"""A large body is held no longer than another worker may be given it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from fastapi import Request

from llava_serve.cluster import routes
from llava_serve.http.body import BodyLimits, read_json as read
from llava_serve.protocol.llava import LlavaChunk
from tests.cluster.conftest import Cluster, StartController, StartWorker, chat

CHAT, LLAVA = "/v1/chat/completions", "/worker_generate_stream"
PICTURE = "A" * 1_900_000
PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
ASKED = chat(stream=True)
LARGE = ASKED | {"messages": [{"role": "user", "content": [PART]}, *ASKED["messages"]]}
LLAVA_LARGE = {"model": "echo", "prompt": "one two", "images": [PICTURE]}


@pytest.mark.parametrize(
    ("path", "asked", "first"),
    [
        (CHAT, LARGE, b'data: {"said": "one"}\n\n'),
        (LLAVA, LLAVA_LARGE, LlavaChunk(text="one twoone").encode()),
    ],
)
async def test_an_answer_that_has_begun_holds_no_place_for_its_body(
    start_controller: StartController,
    start_worker: StartWorker,
    path: str,
    asked: dict[str, Any],
    first: bytes,
) -> None:
    bodies = BodyLimits(max_bytes=2_000_000)  # four such bodies fill all places
    cluster = await start_controller(bodies=bodies)
    worker = await start_worker(cluster)
    worker.may_go_on.clear()
    open_streams: list[AsyncIterator[bytes]] = []  # one that nobody refers to closes
    async with AsyncExitStack() as streams:
        for _ in range(5):
            stream = cluster.http.stream("POST", path, json=asked)
            answer = await streams.enter_async_context(stream)
            open_streams.append(answer.aiter_raw())
            assert await anext(open_streams[-1]) == first
        assert (worker.running, bodies.held.held) == (5, 0)
        worker.may_go_on.set()


async def test_a_body_is_given_back_once_nobody_can_be_sent_it(
    cluster: Cluster, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = asyncio.Event()

    class Body(bytes):
        def __del__(self) -> None:
            freed.set()

    async def read_json(request: Request) -> tuple[Any, bytes]:
        decoded, body = await read(request)
        return decoded, Body(body)

    monkeypatch.setattr(routes, "read_json", read_json)
    worker = await start_worker(cluster)
    worker.may_go_on.clear()
    async with cluster.http.stream("POST", CHAT, json=ASKED) as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b'data: {"said": "one"}\n\n'
        await asyncio.wait_for(freed.wait(), 5)
        worker.may_go_on.set()
