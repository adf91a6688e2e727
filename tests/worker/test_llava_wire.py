"""LLaVA's clients get along with a worker: it reads what they send, they read what it sends."""

import asyncio
import base64
import io
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from typing import Any

import httpx
import pytest
import requests
from fastapi import FastAPI
from PIL import Image

from llava_serve.http.serving import served
from llava_serve.request import ReadyPrompt
from llava_serve.worker.app import build_app
from llava_serve.worker.worker import ModelWorker

ClientOf = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]

PROMPT = "A chat. USER: <image>\nwhat is this? ASSISTANT:"


def png(size: tuple[int, int] = (6, 4)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def asked(**fields: Any) -> dict[str, Any]:
    """Return what LLaVA's page sends."""
    return {
        "model": "echo",
        "prompt": PROMPT,
        "temperature": 0.2,
        "top_p": 0.7,
        "max_new_tokens": 512,
        "stop": "</s>",
        "images": [png()],
    } | fields


# Source: lm-sys/FastChat@014e122, fastchat/serve/openai_api_server.py: what a worker is sent.
OF_FASTCHAT: dict[str, Any] = {
    **{"repetition_penalty": 1.0, "top_k": -1, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    **{"stop_token_ids": None, "use_beam_search": False, "best_of": None, "logprobs": None},
    "echo": False,
}


def chunks(content: bytes) -> list[dict[str, Any]]:
    *found, rest = content.split(b"\0")
    assert rest == b""
    return [json.loads(chunk) for chunk in found]


def ask_as_llava_does(address: str, body: dict[str, Any]) -> list[str]:
    """Read an answer the way LLaVA's page does; return each text it would show."""
    shown: list[str] = []
    with requests.post(
        f"{address}/worker_generate_stream",
        headers={"User-Agent": "LLaVA Client"},
        json=body,
        stream=True,
        timeout=10,
    ) as response:
        for chunk in response.iter_lines(decode_unicode=False, delimiter=b"\0"):
            if chunk:
                data = json.loads(chunk.decode())
                if data["error_code"] != 0:
                    return [*shown, f"{data['text']} (error_code: {data['error_code']})"]
                shown.append(data["text"][len(body["prompt"]) :].strip())
    return shown


async def test_an_old_client_sees_the_answer_grow(app: FastAPI) -> None:
    async with served(app) as address:
        shown = await asyncio.to_thread(ask_as_llava_does, address, asked())
    assert shown[-1].startswith("[1 picture: 6x4]")
    assert all(later.startswith(earlier) for earlier, later in pairwise(shown))
    assert len(shown) > 3


async def test_an_old_client_sees_a_real_message(app: FastAPI) -> None:
    async with served(app) as address:
        shown = await asyncio.to_thread(ask_as_llava_does, address, asked(model="other"))
    assert shown == [
        "the model 'other' is not served here; served: echo. "
        "Ask GET /v1/models for the names that are served. (error_code: 3)"
    ]


async def test_what_fastchat_sends_is_answered_without_the_prompt(http: httpx.AsyncClient) -> None:
    answer = await http.post("/worker_generate_stream", json=asked(**OF_FASTCHAT))
    last = chunks(answer.content)[-1]
    assert last["error_code"] == 0
    assert last["text"].startswith("[1 picture: 6x4]")


@pytest.mark.parametrize(("field", "value"), [("top_k", 40), ("best_of", 2), ("logprobs", True)])
async def test_what_this_wire_cannot_do_is_refused_by_name(
    http: httpx.AsyncClient, field: str, value: Any
) -> None:
    answer = await http.post("/worker_generate_stream", json=asked(**{field: value}))
    (chunk,) = chunks(answer.content)
    assert chunk["text"].startswith(field)
    assert chunk["error_code"] == 3


@pytest.mark.parametrize("stop", [None, "what", ["what", "</s>"], "", []])
async def test_stop_may_be_null_a_string_or_a_list(http: httpx.AsyncClient, stop: Any) -> None:
    answer = await http.post("/worker_generate_stream", json=asked(stop=stop))
    last = chunks(answer.content)[-1]
    assert last["error_code"] == 0
    assert ("what" in last["text"][len(PROMPT) :]) is (not stop)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(asked(images=[png(), png()]), "2 pictures for 1", id="a picture too many"),
        pytest.param(asked(images=None), "0 pictures for 1", id="no picture"),
        pytest.param(asked(images=["???"]), "not valid base64", id="no base64"),
        pytest.param(asked(images=[png((400, 2))]), "100 times", id="too thin"),
        pytest.param(asked(num_beams=4), "num_beams", id="an unknown field"),
        pytest.param(asked(max_new_tokens=0), "max_new_tokens", id="nothing to generate"),
        pytest.param(asked(max_new_tokens=10**400), "max_new_tokens", id="400 digits"),
        pytest.param(asked(max_new_tokens=9999), "9999", id="beyond the context"),
        pytest.param([], "body", id="no object"),
    ],
)
async def test_an_error_is_one_chunk_with_cause_and_number(
    http: httpx.AsyncClient, body: Any, words: str
) -> None:
    answer = await http.post("/worker_generate_stream", json=body)
    (chunk,) = chunks(answer.content)
    assert answer.status_code == 200
    assert chunk["error_code"] == 3
    assert words in chunk["text"]


async def test_images_for_a_model_that_takes_none_are_refused_not_ignored(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    engine = scripted("an answer")
    engine.card = engine.card.model_copy(update={"accepts_images": False})
    async with client_of(build_app(make_worker(engine), max_body_bytes=9999)) as http:
        body = asked(model="scripted")
        (chunk,) = chunks((await http.post("/worker_generate_stream", json=body)).content)
    assert chunk["error_code"] == 3
    assert "does not take pictures" in chunk["text"]
    assert engine.asked == []


async def test_json_that_is_no_request_is_one_chunk_too(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        "/worker_generate_stream", content=b"[]", headers={"Content-Type": "application/json"}
    )
    (chunk,) = chunks(answer.content)
    assert "body" in chunk["text"]


async def test_a_failure_in_mid_answer_is_the_last_chunk(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    worker = make_worker(scripted("so far", RuntimeError("the inside")))
    async with client_of(build_app(worker, max_body_bytes=9999)) as http:
        body = {"model": "scripted", "prompt": "hi "}
        answer = await http.post("/worker_generate_stream", json=body)
    first, last = chunks(answer.content)
    assert first == {"text": "hi so far", "error_code": 0}
    assert last["error_code"] == 1
    assert "inside" not in last["text"]


@pytest.mark.parametrize(("temperature", "expected"), [(0.0, 0), (0.001, 0), (0.2, 0.2)])
async def test_a_temperature_next_to_zero_is_greedy_as_it_was(
    client_of: ClientOf,
    make_worker: Callable[..., ModelWorker],
    scripted: Callable[..., Any],
    temperature: float,
    expected: float,
) -> None:
    engine = scripted("hi")
    async with client_of(build_app(make_worker(engine), max_body_bytes=9999)) as http:
        body = {"model": "scripted", "prompt": "hi", "temperature": temperature}
        await http.post("/worker_generate_stream", json=body)
    (request,) = engine.asked
    assert request.prompt == ReadyPrompt("hi")
    assert request.sampling.temperature == expected


@pytest.mark.parametrize("temperature", [0, 0.7])
async def test_a_top_p_of_zero_is_greedy(
    client_of: ClientOf,
    make_worker: Callable[..., ModelWorker],
    scripted: Callable[..., Any],
    temperature: float,
) -> None:
    engine = scripted("hi")
    async with client_of(build_app(make_worker(engine), max_body_bytes=9999)) as http:
        body = {"model": "scripted", "prompt": "hi", "temperature": temperature, "top_p": 0}
        await http.post("/worker_generate_stream", json=body)
    (request,) = engine.asked
    assert (request.sampling.temperature, request.sampling.top_p) == (0, 1)


async def test_in_silence_the_last_chunk_comes_again(
    make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    heard = asyncio.Event()
    app = build_app(
        make_worker(scripted("so far", heard, " done")), max_body_bytes=9999, keep_alive_s=0.02
    )
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if b"so far" in sent[-1] and sent[-1] == sent[-2]:
            heard.set()

    body = json.dumps({"model": "scripted", "prompt": "> "}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/worker_generate_stream",
        "headers": [],
        "query_string": b"",
    }
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    # A slow machine may be silent before the first word too.
    texts = [chunk["text"] for chunk in chunks(b"".join(sent)) if chunk["text"] != "> "]
    assert texts[:2] == ["> so far", "> so far"]
    assert texts[-1] == "> so far done"
