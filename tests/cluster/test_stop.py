"""A controller that is told to stop: each stream that it passes on ends, and says why."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.http.serving import served
from tests.cluster.conftest import TOKEN, StartRawWorker, StartWorker, chat, status_of

CHAT, LLAVA = "/v1/chat/completions", "/worker_generate_stream"
FIRST = {CHAT: b'data: {"said": "one"}\n\n', LLAVA: b'{"text":"one two one","error_code":0}\0'}
BODY: dict[str, dict[str, Any]] = {
    CHAT: chat(stream=True),
    LLAVA: {"model": "echo", "prompt": "one two "},
}


async def stopped(address: str, path: str, body: dict[str, Any], at_it: asyncio.Event) -> Any:
    """Ask a controller before the worker at `address`, which stops once that is at it."""
    workers = Registry(shortest_queue)
    workers.register(address, status_of(), time.monotonic())
    async with httpx.AsyncClient(timeout=30) as http:
        async with served(build_app(workers, AdmissionPolicy(TOKEN)), grace_s=0.05) as controller:
            asking = asyncio.create_task(http.post(controller + path, json=body))
            await at_it.wait()
        return await asking


@pytest.mark.parametrize("path", [CHAT, LLAVA])
async def test_a_stream_that_outlives_the_grace_ends_with_one_error(
    start_worker: StartWorker, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await start_worker()
    worker.may_go_on.clear()
    answer = await stopped(worker.address, path, BODY[path], worker.at_it)
    assert answer.content.startswith(FIRST[path])
    last = json.loads(answer.content.removeprefix(FIRST[path]).removeprefix(b"data: ").strip(b"\0"))
    assert "told to stop" in (last["error"]["message"] if path == CHAT else last["text"])
    await worker.all_stopped.wait()
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("body", [chat(), chat(stream=True)])
async def test_what_was_not_begun_has_a_status_of_its_own(
    start_raw_worker: StartRawWorker, body: dict[str, Any]
) -> None:
    silent = await start_raw_worker(b"", then_silent=True)
    answer = await stopped(silent.address, CHAT, body, silent.asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "interrupted")
    assert answer.headers["x-not-answered"] == "1"
