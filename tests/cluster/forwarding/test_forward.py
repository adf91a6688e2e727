"""What a client gets when a worker fails, and what a worker notices when a client leaves."""

import asyncio
import json
import random
import time

import httpx
import pytest

from llava_serve.cluster.upstream import upstream
from tests.cluster.conftest import (
    Cluster,
    RawWorker,
    StartController,
    StartRawWorker,
    StartWorker,
    chat,
    chunked,
    status_of,
)

CHAT = "/v1/chat/completions"
EVENT = b'data: {"said": "one"}\n\n'
DONE = b"data: [DONE]\n\n"
FAILED = b'data: {"error": {"message": "ours"}}\n\n'
SSE = "text/event-stream"


def admit(cluster: Cluster, address: str, worker_id: str = "raw") -> None:
    cluster.workers.register(address, status_of(worker_id=worker_id), time.monotonic())


def states(cluster: Cluster) -> list[bool]:
    return [worker.is_reachable for worker in cluster.workers.known()]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def ask_raw(cluster: Cluster, worker: RawWorker, *, stream: bool = True) -> httpx.Response:
    admit(cluster, worker.address)
    return await cluster.http.post(CHAT, json=chat(stream=stream))


async def test_a_dead_worker_s_request_goes_to_the_next_one(
    cluster: Cluster, start_worker: StartWorker, unused_tcp_port: int
) -> None:
    worker = await start_worker()
    admit(cluster, f"http://127.0.0.1:{unused_tcp_port}")
    cluster.workers.register(worker.address, status_of(queue_length=9), time.monotonic())
    answer = await cluster.http.post(CHAT, json=chat(stream=True))
    assert answer.text.endswith("data: [DONE]\n\n")
    assert states(cluster) == [False, True]


async def test_when_no_worker_accepts_the_log_names_it_and_the_answer_does_not(
    cluster: Cluster, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    admit(cluster, f"http://127.0.0.1:{unused_tcp_port}")
    answer = await cluster.http.post(CHAT, json=chat())
    assert error_of(answer) == (503, "worker_unreachable")
    assert str(unused_tcp_port) not in answer.text
    assert f"the worker at http://127.0.0.1:{unused_tcp_port}" in caplog.text
    assert answer.headers["retry-after"]
    assert answer.headers["x-not-answered"]  # a controller before this one may ask another
    assert error_of(await cluster.http.post(CHAT, json=chat())) == (503, "no_worker")


async def test_a_worker_that_never_begins_a_stream_is_unreachable(
    start_controller: StartController, start_raw_worker: StartRawWorker
) -> None:
    cluster = await start_controller(first_byte_s=0.1)
    silent = await start_raw_worker(b"", then_silent=True)
    answer = await ask_raw(cluster, silent)
    assert error_of(answer) == (503, "worker_unreachable")
    assert "no first byte within 0.1 s" in answer.json()["error"]["message"]
    assert states(cluster) == [False]


@pytest.mark.parametrize(
    ("written", "passed_on"),
    [
        pytest.param((EVENT,), EVENT, id="after an event"),
        pytest.param((EVENT + b'data: {"sa',), EVENT, id="within an event"),
        pytest.param((EVENT, b": keep-alive\n\n"), EVENT + b": keep-alive\n\n", id="in silence"),
    ],
)
async def test_a_stream_whose_worker_dies_ends_with_one_error_event(
    cluster: Cluster,
    start_raw_worker: StartRawWorker,
    written: tuple[bytes, ...],
    passed_on: bytes,
) -> None:
    answer = await ask_raw(cluster, await start_raw_worker(chunked(SSE, *written)))
    assert answer.status_code == 200
    assert answer.content.startswith(passed_on + b'data: {"error"')
    last = json.loads(answer.content[len(passed_on) + len(b"data: ") :])
    assert last["error"]["code"] == "worker_lost"
    assert last["error"]["request_id"] == answer.headers["x-request-id"]
    assert states(cluster) == [False]
    metrics = (await cluster.http.get("/metrics")).text
    assert 'requests_total{outcome="worker_lost",wire="native"} 1.0' in metrics


@pytest.mark.parametrize("last", [DONE, FAILED])
async def test_a_stream_that_has_ended_gets_no_second_end(
    cluster: Cluster, start_raw_worker: StartRawWorker, last: bytes
) -> None:
    answer = await ask_raw(cluster, await start_raw_worker(chunked(SSE, EVENT, last)))
    assert answer.content == EVENT + last
    outcome = "failed" if last == FAILED else "ok"
    metrics = (await cluster.http.get("/metrics")).text
    assert f'requests_total{{outcome="{outcome}",wire="native"}} 1.0' in metrics


async def test_a_stream_that_stops_short_is_not_taken_for_complete(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    worker = await start_raw_worker(chunked(SSE, EVENT, is_complete=True))
    answer = await ask_raw(cluster, worker)
    assert answer.content.startswith(EVENT + b'data: {"error"')
    assert b"ended the stream too early" in answer.content


async def test_a_worker_that_dies_before_its_first_event_gives_an_error_status(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    answer = await ask_raw(cluster, await start_raw_worker(chunked(SSE, b'data: {"sa')))
    assert error_of(answer) == (502, "worker_lost")


async def test_a_worker_silent_in_mid_answer_is_lost(
    start_controller: StartController, start_raw_worker: StartRawWorker
) -> None:
    cluster = await start_controller(idle_s=0.1)
    worker = await start_raw_worker(chunked(SSE, EVENT), then_silent=True)
    answer = await ask_raw(cluster, worker)
    assert answer.content.startswith(EVENT + b'data: {"error"')
    assert b"silent for 0.1 s" in answer.content


async def test_half_an_answer_that_is_no_stream_is_an_error_and_not_an_answer(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    worker = await start_raw_worker(chunked("application/json", b'{"choices": '))
    assert error_of(await ask_raw(cluster, worker, stream=False)) == (502, "worker_lost")


async def test_an_answer_larger_than_any_is_not_held(
    cluster: Cluster, start_raw_worker: StartRawWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "MAX_WHOLE_BYTES", 1_000_000)
    worker = await start_raw_worker(chunked("application/json", *[b" " * 100_000] * 12))
    answer = await ask_raw(cluster, worker, stream=False)
    assert error_of(answer) == (502, "worker_lost")
    assert "larger than 1,000,000 bytes" in answer.json()["error"]["message"]


async def test_an_old_stream_whose_worker_dies_ends_with_one_error_record(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    record = b'{"text": "hi there", "error_code": 0}\0'
    worker = await start_raw_worker(chunked("", record, b'{"text": "hi th'))
    admit(cluster, worker.address)
    answer = await cluster.http.post(
        "/worker_generate_stream", json={"model": "echo", "prompt": "hi"}
    )
    whole, last, nothing = answer.content.split(b"\0")
    assert (whole + b"\0", nothing) == (record, b"")
    assert json.loads(last)["error_code"] == 4
    assert "lost in mid-answer" in json.loads(last)["text"]
    assert states(cluster) == [False]


async def test_a_client_that_leaves_stops_the_worker(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    worker.may_go_on.clear()
    async with cluster.http.stream("POST", CHAT, json=chat(stream=True)) as answer:
        await anext(answer.aiter_raw())
        assert [known.in_flight for known in cluster.workers.known()] == [1]
    await worker.all_stopped.wait()
    assert 'outcome="client_left",wire="native"} 1.0' in (await cluster.http.get("/metrics")).text
    assert [known.in_flight for known in cluster.workers.known()] == [0]
    assert states(cluster) == [True]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_the_first_byte_stops_the_worker(
    cluster: Cluster, start_raw_worker: StartRawWorker, stream: bool
) -> None:
    silent = await start_raw_worker(b"", then_silent=True)
    asking = asyncio.create_task(ask_raw(cluster, silent, stream=stream))
    await silent.asked.wait()
    asking.cancel()
    await silent.left.wait()
    assert states(cluster) == [True]


async def test_a_worker_that_never_answers_does_not_hold_up_the_others(
    cluster: Cluster, start_worker: StartWorker, start_raw_worker: StartRawWorker
) -> None:
    black_hole = await start_raw_worker(b"", then_silent=True)
    cluster.workers.register(black_hole.address, status_of("stuck"), time.monotonic())
    await start_worker(cluster)
    hanging = [
        asyncio.create_task(cluster.http.post(CHAT, json=chat(model="stuck", stream=True)))
        for _ in range(20)
    ]
    await black_hole.asked.wait()
    answers = await asyncio.gather(
        *(cluster.http.post(CHAT, json=chat(stream=True)) for _ in range(20))
    )
    assert {answer.text[-14:] for answer in answers} == {"data: [DONE]\n\n"}
    assert not any(task.done() for task in hanging)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_clients_that_leave_at_random_moments_leave_nothing_behind(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    body = chat("word " * 50, stream=True)
    chance = random.Random(0)

    async def leave_somewhere() -> None:
        async with cluster.http.stream("POST", CHAT, json=body) as answer:
            chunks = answer.aiter_raw()
            for _ in range(chance.randrange(6)):
                await anext(chunks, b"")

    await asyncio.gather(*(leave_somewhere() for _ in range(200)))
    while worker.running:
        worker.all_stopped.clear()
        await worker.all_stopped.wait()
    answer = await cluster.http.post(CHAT, json=body)
    assert answer.status_code == 200
    assert [known.in_flight for known in cluster.workers.known()] == [0]
