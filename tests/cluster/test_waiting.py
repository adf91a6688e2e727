"""What clients see while their requests wait in the controller for a slot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from llava_serve.cluster.waiting.line import LineLimits
from llava_serve.protocol import sse
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.llava import LlavaChunk
from tests.cluster.conftest import Cluster, EchoWorker, StartController, StartWorker, chat
from tests.until import bounded

CHAT, LLAVA = "/v1/chat/completions", "/worker_generate_stream"
LLAVA_ASKED = {"model": "echo", "prompt": "one two "}
SAID = b'data: {"said": "one"}\n\ndata: {"said": "two"}\n\ndata: [DONE]\n\n'
WAITING = 'llava_controller_num_requests_waiting{model_name="echo"}'
SOON, LATE = LineLimits(tell_s=0.01), LineLimits(tell_s=1000)


async def full(cluster: Cluster, start_worker: StartWorker, capacity: int = 1) -> EchoWorker:
    """Start a worker whose slots are held until `may_go_on` is set."""
    worker = await start_worker(cluster, capacity=capacity)
    worker.may_go_on.clear()
    for _ in range(capacity):
        worker.at_it.clear()
        cluster.tasks.append(asyncio.create_task(ask(cluster, chat(stream=True))))
        async with bounded("a first word"):
            await worker.at_it.wait()
    return worker


async def ask(cluster: Cluster, asked: dict[str, Any]) -> httpx.Response:
    return await cluster.http.post(LLAVA if "prompt" in asked else CHAT, json=asked)


async def opened(
    streams: AsyncExitStack, cluster: Cluster, asked: dict[str, Any]
) -> tuple[httpx.Response, AsyncIterator[bytes]]:
    path = LLAVA if "prompt" in asked else CHAT
    answer = await streams.enter_async_context(cluster.http.stream("POST", path, json=asked))
    return answer, answer.aiter_raw()


async def metric(cluster: Cluster, line: str) -> bool:
    return line in (await cluster.http.get("/metrics")).text.splitlines()


async def test_a_stream_that_waits_is_told_its_place_and_then_answered(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=SOON)
    worker = await full(cluster, start_worker)
    async with AsyncExitStack() as streams:
        answer, chunks = await opened(streams, cluster, chat(stream=True))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(sse.MEDIA_TYPE)
        assert answer.headers["x-accel-buffering"] == "no"
        assert await anext(chunks) == b": waiting 1 of 1\n\n"
        assert await metric(cluster, f"{WAITING} 1.0")
        assert len(worker.seen) == 1
        worker.may_go_on.set()
        rest = b"".join([chunk async for chunk in chunks])
    assert rest.replace(b": waiting 1 of 1\n\n", b"") == SAID
    assert await metric(cluster, f"{WAITING} 0.0")


async def test_on_llava_s_wire_a_request_that_waits_shows_life(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=SOON)
    worker = await full(cluster, start_worker)
    async with AsyncExitStack() as streams:
        _, chunks = await opened(streams, cluster, LLAVA_ASKED)
        assert await anext(chunks) == LlavaChunk(text="one two ").encode()
        worker.may_go_on.set()
        assert b"one two one two" in b"".join([chunk async for chunk in chunks])


async def test_where_the_prompt_is_not_repeated_the_sign_of_life_has_none_of_it(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=SOON)
    await full(cluster, start_worker)
    async with AsyncExitStack() as streams:
        _, chunks = await opened(streams, cluster, LLAVA_ASKED | {"echo": False})
        assert await anext(chunks) == LlavaChunk(text="").encode()


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_for_a_moment_the_status_is_left_open(
    start_controller: StartController, start_worker: StartWorker, is_streamed: bool
) -> None:
    cluster = await start_controller(waiting=LATE)
    worker = await full(cluster, start_worker)
    asking = asyncio.create_task(ask(cluster, chat("refuse", stream=is_streamed)))
    await waiting(cluster, 1)
    worker.may_go_on.set()
    assert (await asking).status_code == 418


async def waiting(cluster: Cluster, count: int) -> None:
    """Wait until so many wait."""
    async with bounded(f"{count} that wait"):
        while not await metric(cluster, f"{WAITING} {count}.0"):
            pass


async def test_an_answer_that_is_not_streamed_waits_in_silence(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=SOON)
    worker = await full(cluster, start_worker)
    asking = asyncio.create_task(ask(cluster, chat()))
    await waiting(cluster, 1)
    worker.may_go_on.set()
    assert (await asking).json() == {"said": ["one", "two"]}


async def test_a_client_that_leaves_the_line_frees_its_place(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=LATE)
    worker = await full(cluster, start_worker)
    asking = asyncio.create_task(ask(cluster, chat(stream=True)))
    await waiting(cluster, 1)
    asking.cancel()
    await waiting(cluster, 0)
    worker.may_go_on.set()
    await asyncio.gather(*cluster.tasks)
    assert len(worker.seen) == 1


async def test_beyond_its_bounds_the_line_refuses_with_a_status(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=LineLimits(max_waiting=1, tell_s=1000))
    worker = await full(cluster, start_worker)
    asking = asyncio.create_task(ask(cluster, chat()))
    await waiting(cluster, 1)
    refused = await ask(cluster, chat(stream=True))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "line_full")
    assert refused.headers["retry-after"] == "1"
    assert "1 are waiting for this model" in refused.json()["error"]["message"]
    assert await metric(
        cluster, 'llava_controller_requests_total{outcome="line_full",wire="native"} 1.0'
    )
    worker.may_go_on.set()
    assert (await asking).status_code == 200


async def test_one_address_gets_half_the_line(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=LineLimits(max_waiting=3, tell_s=1000))
    worker = await full(cluster, start_worker)
    asking = [asyncio.create_task(ask(cluster, chat())) for _ in range(2)]
    await waiting(cluster, 2)
    refused = await ask(cluster, chat())
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "own_line_full")
    worker.may_go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}


async def test_who_waited_too_long_is_told_so_in_its_stream(
    start_controller: StartController, start_worker: StartWorker
) -> None:
    cluster = await start_controller(waiting=LineLimits(max_wait_s=1.5, tell_s=0.01))
    worker = await full(cluster, start_worker)
    answer = await ask(cluster, chat(stream=True))
    assert answer.status_code == 200
    assert answer.text.count(": waiting 1 of 1") > 1
    assert answer.text.count('"code": "line_timeout"') == 1
    unstreamed = await ask(cluster, chat())
    assert (unstreamed.status_code, unstreamed.json()["error"]["code"]) == (503, "line_timeout")
    worker.may_go_on.set()


@pytest.mark.parametrize(
    ("place", "comment", "told"),
    [
        (LinePlace(1, 1), b": waiting 1 of 1\n\n", "you are next"),
        (LinePlace(2, 9), b": waiting 2 of 9\n\n", "1 is before you"),
        (LinePlace(3, 9, 8), b": waiting 3 of 9, about 8 s\n\n", "2 are before you, about 8 s"),
    ],
)
def test_a_place_comes_back_as_it_was_sent(place: LinePlace, comment: bytes, told: str) -> None:
    assert place.encode() == comment
    assert LinePlace.parse(comment.decode()) == place
    assert place.for_user == told
    assert LinePlace.parse(": keep-alive") is None
