"""A worker that is told to stop: what runs may end, and what does not end in time is told so."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

import httpx
import pytest

from llava_serve.http.serving import served
from llava_serve.request import Delta, Usage
from llava_serve.worker.app import build_app
from llava_serve.worker.worker import ModelWorker

NATIVE, OLD = "/v1/chat/completions", "/worker_generate_stream"
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "go"}]}
ASKED = {
    "streamed": (NATIVE, CHAT | {"stream": True}),
    "whole": (NATIVE, CHAT),
    "old": (OLD, {"model": "scripted", "prompt": "go"}),
}


class Wall(asyncio.Event):
    """Tells when the engine has come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.reached.set()
        return await super().wait()


async def stopped(worker: ModelWorker, wall: Wall, asked: str, grace_s: float) -> httpx.Response:
    """Ask, and stop the server once the engine stands before `wall`."""
    path, body = ASKED[asked]
    app = build_app(worker, max_body_bytes=1000)
    async with httpx.AsyncClient(timeout=30) as http:
        async with served(app, grace_s=grace_s) as address:
            asking = asyncio.create_task(http.post(address + path, json=body))
            await wall.reached.wait()
        return await asking


@pytest.mark.parametrize("asked", ["streamed", "old"])
async def test_a_stream_that_outlives_the_grace_ends_with_an_error(
    make_worker: Callable[..., ModelWorker],
    scripted: Callable[..., Any],
    asked: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wall = Wall()
    engine = scripted("one ", wall)
    answer = await stopped(make_worker(engine), wall, asked, grace_s=0.05)
    assert answer.status_code == 200
    end = answer.text.removesuffix("\n\n").rstrip("\0")
    last = json.loads(end.rpartition("data: " if asked == "streamed" else "\0")[2])
    if asked == "streamed":
        assert last["error"]["code"] == "interrupted"
    else:
        assert (last["error_code"], "told to stop" in last["text"]) == (2, True)
    assert answer.text.count("told to stop") == 1
    assert engine.running == 0
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("asked", ASKED)
async def test_an_answer_that_was_not_begun_may_be_asked_of_another(
    make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any], asked: str
) -> None:
    wall = Wall()
    answer = await stopped(make_worker(scripted(wall)), wall, asked, grace_s=0.05)
    assert answer.status_code == (200 if asked == "old" else 503)
    assert "told to stop" in answer.text
    assert answer.headers["x-not-answered"] == "1"
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("asked", ASKED)
async def test_an_answer_that_ends_within_the_grace_is_whole(
    make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any], asked: str
) -> None:
    wall = Wall()
    engine = scripted("one ", wall, Delta("two", "stop", Usage(1, 2)))
    asyncio.get_running_loop().call_later(0.3, wall.set)  # the stop has begun by then
    answer = await stopped(make_worker(engine), wall, asked, grace_s=30)
    assert answer.status_code == 200
    assert "two" in answer.text and "told to stop" not in answer.text
