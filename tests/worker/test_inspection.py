"""A worker's inspections over HTTP: checked as completions are, and no slot is taken for one."""

import asyncio
import base64
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from llava_serve.engines.echo import CONTEXT_LENGTH, EchoEngine
from llava_serve.http.body import MAX_TEXT_BYTES
from llava_serve.request import Delta, Usage
from llava_serve.worker.app import build_app
from llava_serve.worker.worker import ModelWorker
from tests.worker.test_app import ClientOf, question
from tests.worker.test_nasty_inputs import animated, rotated, saved, truncated

CHAT, INSPECT = "/v1/chat/completions", "/v1/inspect"
MakeWorker = Callable[..., ModelWorker]
END = Delta("", "stop", Usage(prompt_tokens=1, completion_tokens=1))


def part(kind: str, data: bytes) -> dict[str, Any]:
    url = f"data:;base64,{base64.b64encode(data).decode()}"
    return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}


def shown(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    asked = [*parts, {"type": "text", "text": "what is it?"}]
    return {"model": "echo", "messages": [{"role": "user", "content": asked}]} | fields


@pytest.mark.parametrize(
    "body",
    [
        question(),
        question(stream=True),
        shown(part("image", rotated())),
        shown(part("image", rotated()), part("video", animated("GIF"))),
    ],
    ids=["text", "stream", "picture", "picture and clip"],
)
async def test_tokens_are_those_that_a_completion_reports(
    http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    told = (await http.post(INSPECT, json=body)).json()
    answer = (await http.post(CHAT, json=body | {"stream": False})).json()
    assert told["object"] == "inspection"
    assert told["prompt"]["tokens"] == answer["usage"]["prompt_tokens"]
    details = answer["usage"]["prompt_tokens_details"]
    assert told["prompt"]["media_tokens"] == details["image_tokens"]
    assert told["tokens_left"] == told["max_tokens"] == CONTEXT_LENGTH - told["prompt"]["tokens"]


async def test_a_picture_is_told_as_it_was_sent_and_as_it_is_seen(http: httpx.AsyncClient) -> None:
    asked = shown(part("image", rotated()), part("video", animated("GIF")))
    image, video = (await http.post(INSPECT, json=asked)).json()["media"]
    assert (image["format"], image["sent_size"], image["size"]) == ("JPEG", [40, 20], [20, 40])
    assert [tile["shows"]["bottom"] for tile in image["tiles"]] == [40]
    assert (video["format"], video["sent_size"], len(video["frames"])) == ("GIF", [40, 20], 2)


async def test_a_picture_may_be_as_large_as_in_a_completion(http: httpx.AsyncClient) -> None:
    pixels = random.Random(0).randbytes(700 * 600 * 3)
    large = saved(Image.frombytes("RGB", (700, 600), pixels), "PNG")
    assert len(large) > MAX_TEXT_BYTES
    told = await http.post(INSPECT, json=shown(part("image", large)))
    assert [image["size"] for image in told.json()["media"]] == [[700, 600]]


async def test_pixels_is_a_yes_or_a_no(http: httpx.AsyncClient) -> None:
    refused = await http.post(f"{INSPECT}?pixels=some", json=question())
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_field")


@pytest.mark.parametrize("limit", [None, 5, CONTEXT_LENGTH])
async def test_the_limit_in_force_is_told_and_whether_it_fits(
    http: httpx.AsyncClient, limit: int | None
) -> None:
    told = (await http.post(INSPECT, json=question(max_tokens=limit))).json()
    answer = await http.post(CHAT, json=question(max_tokens=limit))
    assert told["fits"] is (answer.status_code == 200) is (limit != CONTEXT_LENGTH)
    assert told["max_tokens"] == (limit or told["tokens_left"])


async def test_what_is_beyond_the_context_is_told_all_the_same(http: httpx.AsyncClient) -> None:
    told = (await http.post(INSPECT, json=question("word " * CONTEXT_LENGTH))).json()
    assert (told["fits"], told["tokens_left"], told["max_tokens"]) == (False, 0, None)
    assert told["prompt"]["tokens"] == CONTEXT_LENGTH


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (question(model="other"), "model_not_found"),
        (question(temperature=9), "invalid_field"),
        (shown(part("image", truncated())), "media_unreadable"),
        (shown(part("image", b"no picture")), "media_unreadable"),
    ],
    ids=["model", "field", "damaged picture", "no picture"],
)
async def test_what_a_completion_is_refused_for_an_inspection_is_too(
    http: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    refusals = [await http.post(path, json=body) for path in (INSPECT, CHAT)]
    told, answer = (refusal.json()["error"] for refusal in refusals)
    assert refusals[0].status_code == refusals[1].status_code
    assert told["code"] == answer["code"] == code
    assert told["message"] == answer["message"]


async def test_it_needs_no_slot_and_is_no_answer_in_the_metrics(
    client_of: ClientOf, make_worker: MakeWorker
) -> None:
    worker, until = make_worker(EchoEngine("echo"), limit=1), asyncio.Event()
    began = asyncio.Event()

    async def ready() -> None:
        began.set()

    async def hold() -> None:
        async with worker.gate.slots(1, ready):
            await until.wait()

    holding = asyncio.create_task(hold())
    await began.wait()
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        before = worker.metrics.text()
        told = await http.post(INSPECT, json=question())
        assert worker.metrics.text() == before
    until.set()
    await holding
    assert told.status_code == 200
    assert worker.gate.queue_length == 0


async def test_it_waits_in_line_like_others(client_of: ClientOf, make_worker: MakeWorker) -> None:
    worker = make_worker(EchoEngine("echo"), limit=1, max_waiting=0)
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        with worker.gate.line():
            full = await http.post(INSPECT, json=question())
        worker.gate.close()
        closed = await http.post(INSPECT, json=question())
    assert (full.status_code, full.json()["error"]["code"]) == (429, "busy")
    assert (closed.status_code, closed.json()["error"]["code"]) == (503, "shutting_down")


async def test_an_engine_that_cannot_says_why(
    client_of: ClientOf, make_worker: MakeWorker, scripted: Callable[..., Any]
) -> None:
    worker = make_worker(scripted(END))
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        refused = await http.post(INSPECT, json=question(model="scripted"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "inspection_unsupported")
    assert "SGLang" in refused.json()["error"]["message"]
    assert refused.headers["X-Not-Answered"] == "1"
    assert "retry-after" not in refused.headers
