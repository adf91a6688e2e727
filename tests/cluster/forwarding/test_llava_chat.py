"""A model that only LLaVA's own workers serve answers chat completions, as far as they can."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import openai
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from llava_serve.client import ChatClient
from llava_serve.http.serving import served
from llava_serve.protocol.cluster import WorkerStatus
from tests.cluster.conftest import (
    Cluster,
    Stack,
    StartController,
    StartRawWorker,
    StartWorker,
    chat,
    chunked,
)
from tests.media.drawn import corner_marked, encoded

CHAT = "/v1/chat/completions"
VICUNA = "llava-v1.5-7b"
V0 = "llava-7b"
HERE = frozenset({"127.0.0.1"})
CURIOUS = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)


@dataclass
class LlavaWorker:
    """A worker of LLaVA's wire, as its source has it, whose model says what the test gives it.

    Each of the `texts` is all that was said so far; with `hold` it waits behind the first one.
    """

    model: str
    texts: list[str] = field(default_factory=lambda: ["A", "A red", "A red circle."])
    error: str | None = None
    hold: bool = False
    bodies: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/worker_generate_stream")
        async def generate_stream(request: Request) -> Response:
            self.bodies.append(await request.json())
            return StreamingResponse(self._chunks(self.bodies[-1]["prompt"]))

        @app.post("/worker_get_status")
        async def get_status() -> dict[str, Any]:
            return {"model_names": [self.model], "speed": 1, "queue_length": 0}

        return app

    async def _chunks(self, prompt: str) -> AsyncIterator[bytes]:
        try:
            for text in self.texts:
                yield json.dumps({"text": prompt + text, "error_code": 0}).encode() + b"\0"
                if self.hold:
                    await asyncio.Event().wait()
            if self.error is not None:
                yield json.dumps({"text": self.error, "error_code": 1}).encode() + b"\0"
        finally:
            self.left.set()


@pytest.fixture
async def trusting(start_controller: StartController) -> Cluster:
    return await start_controller(HERE)


async def join(stack: Stack, cluster: Cluster, worker: LlavaWorker) -> LlavaWorker:
    address = await stack.enter(served(worker.app()))
    status = {"model_names": [worker.model], "speed": 1, "queue_length": 0}
    body = {"worker_name": address, "check_heart_beat": True, "worker_status": status}
    answer = await cluster.http.post("/register_worker", json=body)
    assert answer.status_code == 200
    return worker


def client_of(cluster: Cluster) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{cluster.address}/v1", api_key="none", max_retries=0)


def picture_part(data: bytes, **fields: str) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"type": "image_url", "image_url": {"url": url, **fields}}


async def test_a_conversation_about_a_picture_is_rendered_and_answered_whole(
    trusting: Cluster, stack: Stack
) -> None:
    worker = await join(stack, trusting, LlavaWorker(VICUNA, [" A red", " A red circle. "]))
    picture = encoded(corner_marked())
    said = {"type": "text", "text": "What is it?"}
    messages: list[Any] = [
        {"role": "user", "content": [picture_part(picture), said]},
        {"role": "assistant", "content": "A shape."},
        {"role": "user", "content": "Which?"},
    ]
    async with client_of(trusting) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model=VICUNA, messages=messages, temperature=0, max_tokens=64, user="u"
        )
    answer = raw.parse()
    assert answer.choices[0].message.content == "A red circle."
    assert (answer.model, answer.choices[0].finish_reason, answer.usage) == (VICUNA, "stop", None)
    assert answer.id.startswith("chatcmpl-req-")
    assert raw.headers["x-llava-template"] == (
        "llava_v1; rendered by the controller, from the model's name"
    )
    assert worker.bodies == [
        {
            "model": VICUNA,
            "prompt": f"{CURIOUS} USER: <image>\nWhat is it? ASSISTANT: A shape.</s>"
            "USER: Which? ASSISTANT:",
            "stop": "</s>",
            "images": [base64.b64encode(picture).decode()],
            "temperature": 0,
            "top_p": 0.7,
            "max_new_tokens": 64,
        }
    ]


async def test_a_stream_that_would_tell_the_usage_so_far_comes_without_it(
    trusting: Cluster, stack: Stack
) -> None:
    await join(stack, trusting, LlavaWorker(VICUNA))
    said = [{"role": "user", "content": "hi"}]
    asked = {"model": VICUNA, "messages": said, "max_tokens": 9, "stream": True}
    response = await trusting.http.post("/v1/messages", json=asked)
    assert response.status_code == 200
    lines = (line[6:] for line in response.text.splitlines() if line.startswith("data:"))
    events = list(map(json.loads, lines))
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta["text"] for delta in deltas) == "A red circle."
    assert events[-1]["type"] == "message_stop"
    counted: dict[str, Any] = {"stream_options": {"continuous_usage_stats": True}}  # as the page
    async with aiohttp.ClientSession() as session:
        client = ChatClient(trusting.address, session)
        chunks = [one async for one in client.stream(chat(model=VICUNA, **counted))]
    texts = (choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "".join(texts) == "A red circle."


async def test_texts_so_far_become_deltas(trusting: Cluster, stack: Stack) -> None:
    await join(stack, trusting, LlavaWorker(VICUNA))
    async with client_of(trusting) as client:
        stream = await client.chat.completions.create(
            model=VICUNA, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        choices = [chunk.choices[0] async for chunk in stream]
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert "llava_v1" in stream.response.headers["x-llava-template"]
    assert choices[0].delta.role == "assistant"
    assert [choice.delta.content for choice in choices] == ["", "A", " red", " circle.", None]
    assert [choice.finish_reason for choice in choices] == [None] * 4 + ["stop"]


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (["Hi", "Hi #", "Hi ##", "Hi ###"], "Hi"),
        (["Hi", "Hi ##", "Hi "], "Hi"),  # the worker takes the stop away itself
        (["Hi", "Hi ##", "Hi ## there"], "Hi ## there"),
        (["Hi", "Hi ##"], "Hi ##"),  # the end came before the stop
        ([], ""),
        ([" ", "  Hi ", "  Hi  you "], "Hi  you"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_no_part_of_the_templates_stop_is_shown(
    trusting: Cluster, stack: Stack, texts: list[str], answer: str, stream: bool
) -> None:
    await join(stack, trusting, LlavaWorker(V0, texts))
    response = await trusting.http.post(CHAT, json=chat(model=V0, stream=stream))
    assert response.status_code == 200
    if not stream:
        assert response.json()["choices"][0]["message"]["content"] == answer
        return
    *events, end = [line[6:] for line in response.text.split("\n\n") if line.startswith("data:")]
    assert end == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(deltas) == answer


TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
CALL: dict[str, Any] = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"seed": 0}, "seed"),
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"top_k": 5}, "top_k"),
        ({"logprobs": True}, "logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"max_tokens": 1025}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"tools": [TOOL]}, "tools"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, "messages.0.tool_calls"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "5"}]}, "messages.0.role"),
    ],
)
async def test_what_such_a_worker_cannot_do_is_refused_by_name(
    trusting: Cluster, stack: Stack, fields: dict[str, Any], param: str
) -> None:
    worker = await join(stack, trusting, LlavaWorker(VICUNA))
    answer = await trusting.http.post(CHAT, json=chat(model=VICUNA, **fields))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert worker.bodies == []


async def test_values_that_ask_for_nothing_pass(trusting: Cluster, stack: Stack) -> None:
    worker = await join(stack, trusting, LlavaWorker(VICUNA))
    asked: dict[str, Any] = {
        "n": 1,
        "top_k": -1,
        "seed": None,
        "stop": [],
        "logprobs": False,
        "min_p": 0,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }
    asked |= {"frequency_penalty": 0, "response_format": {"type": "text"}, "top_p": 0}
    asked |= {"repetition_penalty": 1, "stream": True}
    asked |= {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    answer = await trusting.http.post(CHAT, json=chat(model=VICUNA, **asked))
    assert answer.status_code == 200
    (body,) = worker.bodies
    assert (body["temperature"], body["top_p"], body["max_new_tokens"]) == (0, 1, 512)


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"type": "text", "text": "an <image> of"}, "invalid_field"),
        (picture_part(b"x", detail="low"), "unsupported_field"),
        ({"type": "video_url", "video_url": {"url": "data:,x"}}, "unsupported_field"),
        ({"type": "image_url", "image_url": {"url": "https://a.b/c"}}, "remote_media_refused"),
        ({"type": "image_url", "image_url": {"url": "data:;base64,%"}}, "media_unreadable"),
    ],
)
async def test_a_part_that_cannot_be_passed_on_is_refused(
    trusting: Cluster, stack: Stack, part: dict[str, Any], code: str
) -> None:
    worker = await join(stack, trusting, LlavaWorker(VICUNA))
    body = {"model": VICUNA, "messages": [{"role": "user", "content": [part]}]}
    answer = await trusting.http.post(CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert worker.bodies == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("texts", "error", "status", "code"),
    [
        ([], "NETWORK ERROR", 502, "llava_worker_failed"),
        (
            ["Exceeds max token length. Please start a new conversation, thanks."],
            None,
            400,
            "context_length_exceeded",
        ),
    ],
)
async def test_an_error_of_the_worker_has_a_status_and_a_code(
    trusting: Cluster,
    stack: Stack,
    stream: bool,
    texts: list[str],
    error: str | None,
    status: int,
    code: str,
) -> None:
    await join(stack, trusting, LlavaWorker(VICUNA, texts, error))
    answer = await trusting.http.post(CHAT, json=chat(model=VICUNA, stream=stream))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert (error or "fills its context") in answer.json()["error"]["message"]
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


async def test_an_error_behind_text_ends_the_stream(trusting: Cluster, stack: Stack) -> None:
    await join(stack, trusting, LlavaWorker(VICUNA, error="NETWORK ERROR"))
    said: list[str] = []
    async with client_of(trusting) as client:
        stream = await client.chat.completions.create(
            model=VICUNA, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        with pytest.raises(openai.APIError, match="NETWORK ERROR"):
            async for chunk in stream:
                said.append(chunk.choices[0].delta.content or "")
    assert "".join(said) == "A red circle."


async def test_a_worker_that_dies_before_its_answer_is_an_error_with_a_status(
    trusting: Cluster, start_raw_worker: StartRawWorker
) -> None:
    worker = await start_raw_worker(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    status = WorkerStatus(model_names=[VICUNA])
    trusting.workers.register(worker.address, status, now=0, is_legacy=True, expires=False)
    answer = await trusting.http.post(CHAT, json=chat(model=VICUNA, stream=True))
    assert answer.status_code in (502, 503)
    assert answer.json()["error"]["code"] in ("worker_unreachable", "worker_lost")


async def test_what_is_no_record_is_the_workers_failure(
    trusting: Cluster, start_raw_worker: StartRawWorker
) -> None:
    answer = chunked("application/octet-stream", b"no json\0[1]\0", is_complete=True)
    worker = await start_raw_worker(answer)
    status = WorkerStatus(model_names=[VICUNA])
    trusting.workers.register(worker.address, status, now=0, is_legacy=True, expires=False)
    told = await trusting.http.post(CHAT, json=chat(model=VICUNA))
    assert (told.status_code, told.json()["error"]["code"]) == (502, "llava_worker_failed")


async def test_a_client_that_leaves_ends_the_workers_stream(
    trusting: Cluster, stack: Stack
) -> None:
    worker = await join(stack, trusting, LlavaWorker(VICUNA, hold=True))
    async with trusting.http.stream("POST", CHAT, json=chat(model=VICUNA, stream=True)) as answer:
        async for line in answer.aiter_lines():
            if '"A"' in line:
                break
    await asyncio.wait_for(worker.left.wait(), 10)


async def test_a_native_worker_is_preferred(
    trusting: Cluster, stack: Stack, start_worker: StartWorker
) -> None:
    old = await join(stack, trusting, LlavaWorker(VICUNA))
    native = await start_worker(trusting, model=VICUNA)
    for _ in range(4):
        answer = await trusting.http.post(CHAT, json=chat(model=VICUNA, seed=1))
        assert answer.json() == {"said": ["one", "two"]}
    assert (len(native.seen), old.bodies) == (4, [])


async def test_the_list_has_it_by_its_name_alone(trusting: Cluster, stack: Stack) -> None:
    await join(stack, trusting, LlavaWorker(VICUNA))
    async with client_of(trusting) as client:
        (listed,) = [model async for model in client.models.list()]
        assert await client.models.retrieve(VICUNA) == listed
    assert (listed.id, listed.owned_by) == (VICUNA, "llava")
    async with aiohttp.ClientSession() as session:  # our own programs ask for more than it can do
        assert await ChatClient(trusting.address, session).models() == []


async def test_an_inspection_is_refused_as_before(trusting: Cluster, stack: Stack) -> None:
    await join(stack, trusting, LlavaWorker(VICUNA))
    answer: httpx.Response = await trusting.http.post("/v1/inspect", json=chat(model=VICUNA))
    assert answer.status_code == 400
    assert "LLaVA's own protocol" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_ollamas_clients_are_told_what_such_a_worker_knows(
    trusting: Cluster, stack: Stack, stream: bool
) -> None:
    await join(stack, trusting, LlavaWorker(VICUNA))
    body = {"model": VICUNA, "prompt": "What is it?", "stream": stream}
    answer = await trusting.http.post("/api/generate", json=body)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert "".join(line["response"] for line in lines) == "A red circle."
    assert (lines[-1]["done"], lines[-1]["done_reason"]) == (True, "stop")
    assert lines[-1]["total_duration"] > 0
    assert "eval_count" not in lines[-1]
