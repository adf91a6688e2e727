"""Until the first token is out, a request belongs to the cluster and not to the worker it is at."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from llava_serve.cluster.forwarding.attempts import MOST_LOST
from llava_serve.cluster.forwarding.records import MAX_HELD_BYTES
from llava_serve.protocol import sse
from llava_serve.protocol.llava import LlavaChunk
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

CHAT, LLAVA = "/v1/chat/completions", "/worker_generate_stream"
LLAVA_ASKED = {"model": "echo", "prompt": "one two "}
SSE, WHOLE = "text/event-stream", "application/json"
ALIVE = sse.KEEP_ALIVE
ROLE = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'
SAID = b'data: {"said": "one"}\n\ndata: {"said": "two"}\n\ndata: [DONE]\n\n'
LLAVA_ALIVE = LlavaChunk(text="one two ").encode()
LLAVA_SAID = LlavaChunk(text="one two one").encode() + LlavaChunk(text="one two one two").encode()


def failed(code: str, number: int = 1) -> dict[str, bytes]:
    body = {"error": {"message": "no more", "code": code, "remedy": "Wait."}}
    llava = LlavaChunk(text="no more", error_code=number).encode()
    return {
        "event": sse.encode(json.dumps(body)),
        "llava": llava,
        "body": json.dumps(body).encode(),
    }


def refused(status: int, **headers: str) -> bytes:
    """Return a whole answer of HTTP: an error, and nothing of the request was answered."""
    body = failed("busy")["body"]
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [f"HTTP/1.1 {status} No", "X-Not-Answered: busy", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def admit(cluster: Cluster, address: str, queue_length: int) -> None:
    status = status_of(worker_id=address, queue_length=queue_length)
    cluster.workers.register(address, status, time.monotonic())


async def ask(cluster: Cluster, asked: dict[str, Any]) -> httpx.Response:
    return await cluster.http.post(LLAVA if "prompt" in asked else CHAT, json=asked)


STREAMED, UNSTREAMED = chat(stream=True), chat()


@pytest.mark.parametrize(
    ("written", "asked", "seen"),
    [
        pytest.param(b"", STREAMED, SAID, id="nothing"),
        pytest.param(b"", UNSTREAMED, b'{"said": ["one", "two"]}', id="nothing, unstreamed"),
        pytest.param(
            chunked(WHOLE, b'{"choices": '), UNSTREAMED, b'{"said": ["one", "two"]}', id="half"
        ),
        pytest.param(chunked(SSE, b'data: {"sa'), STREAMED, SAID, id="half an event"),
        pytest.param(chunked(SSE, ALIVE, ALIVE), STREAMED, ALIVE * 2 + SAID, id="signs of life"),
        pytest.param(chunked(SSE, ALIVE, ROLE), STREAMED, ALIVE + SAID, id="a role"),
        pytest.param(
            chunked(SSE, ALIVE, is_complete=True), STREAMED, ALIVE + SAID, id="an early end"
        ),
        pytest.param(
            chunked(SSE, ALIVE, failed("shutting_down")["event"]),
            STREAMED,
            ALIVE + SAID,
            id="it stops",
        ),
        pytest.param(
            chunked("", LLAVA_ALIVE), LLAVA_ASKED, LLAVA_ALIVE + LLAVA_SAID, id="llava: the prompt"
        ),
        pytest.param(
            chunked("", LLAVA_ALIVE, failed("", number=4)["llava"], is_complete=True),
            LLAVA_ASKED,
            LLAVA_ALIVE + LLAVA_SAID,
            id="llava: what it asked was lost",
        ),
    ],
)
async def test_what_has_no_token_yet_goes_to_another_worker_in_the_same_stream(
    cluster: Cluster,
    start_worker: StartWorker,
    start_raw_worker: StartRawWorker,
    written: bytes,
    asked: dict[str, Any],
    seen: bytes,
) -> None:
    dying, other = await start_raw_worker(written), await start_worker()
    admit(cluster, dying.address, 0)
    admit(cluster, other.address, 9)
    answer = await ask(cluster, asked)
    assert (answer.status_code, answer.content) == (200, seen)
    assert len(other.seen) == 1
    assert [worker.in_flight for worker in cluster.workers.known()] == [0, 0]
    assert "taken_back_total" in (await cluster.http.get("/metrics")).text


@pytest.mark.parametrize(
    ("text", "asked"),
    [(chunked(SSE, ROLE, SAID[:23]), STREAMED), (chunked("", LLAVA_SAID[:40]), LLAVA_ASKED)],
)
async def test_what_has_a_token_is_not_asked_again(
    cluster: Cluster,
    start_worker: StartWorker,
    start_raw_worker: StartRawWorker,
    text: bytes,
    asked: dict[str, Any],
) -> None:
    dying, other = await start_raw_worker(text), await start_worker()
    admit(cluster, dying.address, 0)
    admit(cluster, other.address, 9)
    answer = await ask(cluster, asked)
    assert answer.content.count(b"lost in mid-answer") == 1
    assert other.seen == []


async def test_a_role_that_was_held_back_comes_with_the_first_text(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    worker = await start_raw_worker(chunked(SSE, ROLE, ALIVE, SAID, is_complete=True))
    admit(cluster, worker.address, 0)
    assert (await ask(cluster, STREAMED)).content == ALIVE + ROLE + SAID


async def test_an_error_that_another_worker_would_give_too_is_not_asked_again(
    cluster: Cluster, start_worker: StartWorker, start_raw_worker: StartRawWorker
) -> None:
    error = failed("context_length_exceeded")["event"]
    worker, other = await start_raw_worker(chunked(SSE, ALIVE, error)), await start_worker()
    admit(cluster, worker.address, 0)
    admit(cluster, other.address, 9)
    assert (await ask(cluster, STREAMED)).content == ALIVE + error
    assert other.seen == []


async def dying(
    cluster: Cluster, start_raw_worker: StartRawWorker, count: int, written: bytes
) -> list[RawWorker]:
    workers = [await start_raw_worker(written) for _ in range(count)]
    for at, worker in enumerate(workers):
        admit(cluster, worker.address, at)
    return workers


@pytest.mark.parametrize("written", [b"", chunked(SSE, ALIVE)])
async def test_a_request_that_workers_die_of_does_not_get_them_all(
    cluster: Cluster, start_raw_worker: StartRawWorker, written: bytes
) -> None:
    workers = await dying(cluster, start_raw_worker, MOST_LOST + 2, written)
    answer = await ask(cluster, STREAMED)
    assert [worker.asked.is_set() for worker in workers] == [True] * MOST_LOST + [False] * 2
    assert answer.content.count(b'"code"') == 1
    assert b'"workers_lost"' in answer.content
    assert "x-not-answered" not in answer.headers  # nor does a controller before this one go on


@pytest.mark.parametrize(
    ("written", "asked", "error"),
    [
        (b"", UNSTREAMED, b'"worker_unreachable"'),
        (chunked(SSE, ALIVE), STREAMED, b'"worker_lost"'),
        (chunked(SSE, ALIVE, failed("shutting_down")["event"]), STREAMED, b'"shutting_down"'),
        (chunked("", LLAVA_ALIVE), LLAVA_ASKED, b"lost in mid-answer"),
        (refused(429, Retry_After="7"), UNSTREAMED, b'"busy"'),
    ],
)
async def test_when_all_workers_fail_there_is_one_error(
    cluster: Cluster,
    start_raw_worker: StartRawWorker,
    written: bytes,
    asked: dict[str, Any],
    error: bytes,
) -> None:
    workers = await dying(cluster, start_raw_worker, 2, written)
    answer = await ask(cluster, asked)
    assert all(worker.asked.is_set() for worker in workers)
    assert answer.content.count(error) == 1
    assert answer.content.count(b'"code"') <= 1
    assert not any(worker.address.encode() in answer.content for worker in workers)


async def test_a_lost_worker_s_request_waits_for_a_place_at_a_busy_one(
    cluster: Cluster, start_worker: StartWorker, start_raw_worker: StartRawWorker
) -> None:
    dead, busy = await start_raw_worker(chunked(SSE, ALIVE)), await start_raw_worker(refused(429))
    admit(cluster, dead.address, 0)
    admit(cluster, busy.address, 9)
    asking = asyncio.create_task(ask(cluster, STREAMED))
    await busy.asked.wait()
    admit(cluster, (await start_worker()).address, 0)  # a place, before the busy one is asked again
    assert (await asking).content == ALIVE * 2 + SAID  # the second sign of life: it waits


async def test_a_request_that_lost_no_worker_is_told_at_once_that_all_are_busy(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    busy = await start_raw_worker(refused(429, Retry_After="7"))
    admit(cluster, busy.address, 0)
    answer = await ask(cluster, STREAMED)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_worker_that_was_busy_before_an_answer_is_not_why_it_ends_early(
    start_controller: StartController, start_raw_worker: StartRawWorker, resumes: bool
) -> None:
    cluster = await start_controller(resumes=resumes)
    busy, dying = (
        await start_raw_worker(refused(429)),
        await start_raw_worker(chunked(SSE, ROLE, SAID[:23])),
    )
    admit(cluster, busy.address, 0)
    admit(cluster, dying.address, 9)
    answer = await ask(cluster, STREAMED)
    assert (b"worker_lost" in answer.content, b"busy" in answer.content) == (True, False)


@pytest.mark.parametrize(
    ("limit", "asked", "code", "is_reachable"),
    [
        ("first_byte_s", STREAMED, (503, "worker_unreachable"), [False, True]),
        ("answer_s", UNSTREAMED, (504, "answer_timeout"), [True, True]),
    ],
)
async def test_when_its_time_is_over_a_request_is_given_to_no_other_worker(
    start_controller: StartController,
    start_raw_worker: StartRawWorker,
    limit: str,
    asked: dict[str, Any],
    code: tuple[int, str],
    is_reachable: list[bool],
) -> None:
    cluster = await start_controller(**{limit: 0.2})
    workers = [await start_raw_worker(b"", then_silent=True) for _ in range(2)]
    for at, worker in enumerate(workers):
        admit(cluster, worker.address, at)
    answer = await ask(cluster, asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == code
    assert [worker.asked.is_set() for worker in workers] == [True, False]
    assert [worker.is_reachable for worker in cluster.workers.known()] == is_reachable


async def test_a_worker_that_got_the_rest_of_the_time_only_stays_in_dispatch(
    start_controller: StartController, start_raw_worker: StartRawWorker
) -> None:
    cluster = await start_controller(first_byte_s=0.3)
    dead, slow = await start_raw_worker(b""), await start_raw_worker(b"", then_silent=True)
    admit(cluster, dead.address, 0)
    admit(cluster, slow.address, 9)
    answer = await ask(cluster, STREAMED)
    assert answer.json()["error"]["code"] == "worker_unreachable"
    assert slow.asked.is_set()
    assert [worker.is_reachable for worker in cluster.workers.known()] == [False, True]


async def test_a_code_that_only_the_worker_knows_is_no_label(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    error = json.dumps({"error": {"message": "no", "code": "made up"}}).encode()
    worker = await start_raw_worker(
        b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n%s" % (len(error), error)
    )
    admit(cluster, worker.address, 0)
    assert b'"error_code":1' in (await ask(cluster, LLAVA_ASKED)).content.replace(b" ", b"")
    metrics = (await cluster.http.get("/metrics")).text
    assert "made up" not in metrics
    assert 'requests_total{outcome="failed",wire="llava"} 1.0' in metrics


@pytest.mark.parametrize(
    ("said", "chunk"),
    [
        pytest.param(b": \n\n", b"x" * 100_000, id="before any text"),
        pytest.param(SAID[:23], b"x" * 100_000, id="behind a text"),
        pytest.param(b": \n\n", ROLE * 1000, id="roles"),
    ],
)
async def test_a_worker_that_sends_no_end_of_a_record_is_lost(
    cluster: Cluster, start_raw_worker: StartRawWorker, said: bytes, chunk: bytes
) -> None:
    chunks = [chunk] * (MAX_HELD_BYTES // len(chunk) + 5)
    worker = await start_raw_worker(chunked(SSE, said, *chunks), then_silent=True)
    admit(cluster, worker.address, 0)
    answer = await ask(cluster, STREAMED)
    assert b"that hold no whole text" in answer.content
    assert len(answer.content) < 1000
    assert [known.is_reachable for known in cluster.workers.known()] == [False]
