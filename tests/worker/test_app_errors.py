"""Errors of a worker: a status of their own before the answer, the last event within it."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import ContextOverflow, OutOfMemory
from llava_serve.protocol import sse
from llava_serve.worker.app import build_app
from llava_serve.worker.worker import ModelWorker
from tests.worker.test_app import ClientOf, question


@pytest.mark.parametrize(
    ("fields", "status", "code", "words"),
    [
        ({"model": "other"}, 404, "model_not_found", "served: echo"),
        ({"beams": 2}, 400, "invalid_field", "beams"),
        ({"best_of": 2, "n": 2}, 400, "unsupported_field", "best_of"),
        ({"logit_bias": {"1": 2}}, 400, "unsupported_field", "logit_bias"),
        ({"n": 0}, 400, "invalid_field", "n"),
        ({"min_tokens": 6, "max_tokens": 5}, 400, "invalid_field", "min_tokens"),
        ({"temperature": -1}, 400, "invalid_field", "temperature"),
        ({"messages": []}, 400, "invalid_field", "messages"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 400, "invalid_field", "max_tokens"),
        ({"max_tokens": 10_000}, 400, "context_length_exceeded", "10000"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_cannot_be_served_is_refused_with_its_own_status(
    http: httpx.AsyncClient,
    fields: dict[str, Any],
    status: int,
    code: str,
    words: str,
    stream: bool,
) -> None:
    answer = await http.post("/v1/chat/completions", json=question(stream=stream) | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert words in error["message"]
    assert error["remedy"]
    assert error["request_id"] == answer.headers["x-request-id"]


async def test_low_detail_is_refused_by_its_place_where_an_engine_cannot(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker]
) -> None:
    engine = EchoEngine("echo")
    engine.card = engine.card.model_copy(update={"supported_params": []})
    image = {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}}
    said = {"role": "user", "content": [{"type": "text", "text": "hi"}, image]}
    async with client_of(build_app(make_worker(engine), max_body_bytes=10_000)) as http:
        answer = await http.post("/v1/chat/completions", json={"model": "echo", "messages": [said]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "unsupported_field")
    assert error["param"] == "messages.0.content.1.image_url.detail"


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("accepts_images", {"type": "image_url", "image_url": {"url": "data:,x"}}),
        ("accepts_video", {"type": "video_url", "video_url": {"url": "data:,x"}}),
    ],
)
async def test_media_for_a_model_that_takes_none_are_refused_not_ignored(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], field: str, part: dict[str, Any]
) -> None:
    engine = EchoEngine("echo")
    engine.card = engine.card.model_copy(update={field: False})
    body = {"model": "echo", "messages": [{"role": "user", "content": [part]}]}
    async with client_of(build_app(make_worker(engine), max_body_bytes=10_000)) as http:
        answer = await http.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "media_not_accepted")


async def test_an_error_in_mid_stream_is_the_one_last_event(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    worker = make_worker(scripted("some ", OutOfMemory("needs 3 GB, has 2 GB")))
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        body = question(stream=True) | {"model": "scripted"}
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    *chunks, last = sse.EventDecoder().feed(answer.content)
    assert "some " in chunks[-1]
    assert json.loads(last)["error"]["code"] == "out_of_memory"
    assert "needs 3 GB" in json.loads(last)["error"]["message"]
    assert worker.gate.queue_length == 0


async def test_an_error_before_the_first_delta_is_a_real_status(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    worker = make_worker(scripted(ContextOverflow(9, 9, 9)))
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        body = question(stream=True) | {"model": "scripted"}
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400


@pytest.mark.parametrize("script", [("some ",), ()])
async def test_a_bug_in_an_engine_shows_nothing_of_its_inside(
    client_of: ClientOf,
    make_worker: Callable[..., ModelWorker],
    scripted: Callable[..., Any],
    script: tuple[str, ...],
) -> None:
    async with client_of(
        build_app(make_worker(scripted(*script, KeyError("secret"))), max_body_bytes=10_000)
    ) as http:
        body = question(stream=True) | {"model": "scripted"}
        answer = await http.post("/v1/chat/completions", json=body)
    assert "engine_failure" in answer.text
    assert "secret" not in answer.text


async def test_silence_is_filled_with_comments_and_an_error_after_it_is_an_event(
    make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    never = asyncio.Event()
    worker = make_worker(scripted(never, ContextOverflow(9, 9, 9)))
    app = build_app(worker, max_body_bytes=10_000, keep_alive_s=0.01)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body") == sse.KEEP_ALIVE:
            never.set()

    async with app.router.lifespan_context(app):
        await app(*asgi_request(question(stream=True) | {"model": "scripted"}), send)
    assert sent[0]["status"] == 200
    assert sent[1]["body"] == sse.KEEP_ALIVE
    assert b"context_length_exceeded" in sent[-1]["body"]
    assert not sent[-1]["more_body"]


def asgi_request(body: dict[str, Any]) -> tuple[dict[str, Any], Callable[[], Any]]:
    """Return the scope and the `receive` of a request whose client stays."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [],
        "query_string": b"",
    }
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    return scope, receive


async def test_a_full_worker_answers_429_with_a_time_to_come_back(
    client_of: ClientOf,
    make_worker: Callable[..., ModelWorker],
) -> None:
    worker = make_worker(EchoEngine("echo"), limit=1, max_waiting=0)
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        async with worker.gate.slots(1, partial(asyncio.sleep, 0)):
            refused = await http.post("/v1/chat/completions", json=question())
        served = await http.post("/v1/chat/completions", json=question())
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
    assert int(refused.headers["retry-after"]) > 0
    assert served.status_code == 200
