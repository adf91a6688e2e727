"""The worker's routes on the native wire, asked without a socket."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import ContextOverflow, OutOfMemory
from llava_serve.media.reader import MediaReader
from llava_serve.protocol import sse
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.model_card import ModelList, SamplingDefaults
from llava_serve.request import Delta, GenerateRequest, Stages, Usage
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker

END = Delta("", "stop", Usage(prompt_tokens=3, completion_tokens=2, image_tokens=1))


ClientOf = Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]


def question(text: str = "hello there", **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}]} | fields


def events(answer: httpx.Response) -> list[Any]:
    *data, last = sse.EventDecoder().feed(answer.content)
    assert last == sse.DONE
    return [json.loads(event) for event in data]


async def test_an_answer_comes_whole(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/chat/completions", json=question())).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "hello there"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == 4


async def test_a_stream_has_the_role_first_then_text_then_the_reason(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("/v1/chat/completions", json=question(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-cache"
    choices = [event["choices"][0] for event in events(answer)]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "hello "},
        {"content": "there"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]


async def test_usage_comes_in_a_chunk_of_its_own_and_only_when_asked_for(
    http: httpx.AsyncClient,
) -> None:
    options = {"include_usage": True}
    with_usage = await http.post(
        "/v1/chat/completions", json=question(stream=True, stream_options=options)
    )
    *chunks, last = events(with_usage)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 2
    assert last["timings"]["first_token_s"] <= last["timings"]["total_s"]
    without = await http.post("/v1/chat/completions", json=question(stream=True))
    assert all("usage" not in chunk for chunk in events(without))


async def test_usage_so_far_comes_in_every_chunk_when_asked_for(http: httpx.AsyncClient) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    told = await http.post(
        "/v1/chat/completions", json=question(stream=True, stream_options=options)
    )
    *chunks, last = events(told)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [0, 1, 2, 2]
    assert {chunk["usage"]["prompt_tokens"] for chunk in [*chunks, last]} == {2}
    assert chunks[-1]["usage"] == last["usage"]
    assert last["choices"] == []


async def test_usage_so_far_may_be_asked_for_without_a_last_chunk(http: httpx.AsyncClient) -> None:
    options = {"continuous_usage_stats": True}
    told = await http.post(
        "/v1/chat/completions", json=question(stream=True, n=2, stream_options=options)
    )
    usages: dict[int, list[int]] = {0: [], 1: []}
    for chunk in events(told):
        (choice,) = chunk["choices"]
        usages[choice["index"]].append(chunk["usage"]["total_tokens"])
    assert usages == {0: [2, 3, 4, 4], 1: [2, 3, 4, 4]}


@pytest.mark.parametrize("temperature", [0, 0.7, None])
async def test_a_top_p_of_zero_is_greedy(
    client_of: ClientOf,
    make_worker: Callable[..., ModelWorker],
    scripted: Callable[..., Any],
    temperature: float | None,
) -> None:
    engine = scripted(END)
    fields = {"model": "scripted", "temperature": temperature, "top_p": 0}
    async with client_of(build_app(make_worker(engine), max_body_bytes=10_000)) as http:
        answer = await http.post("/v1/chat/completions", json=question() | fields)
    assert answer.status_code == 200
    (request,) = engine.asked
    assert (request.sampling.temperature, request.sampling.top_p) == (0, 1)


def begun(text: Any, **fields: Any) -> dict[str, Any]:
    body = question("hello big world", **fields)
    body["messages"].append({"role": "assistant", "content": text})
    return body | {"continue_final_message": True}


@pytest.mark.parametrize("content", ["hello b", [{"type": "text", "text": "hello b"}]])
@pytest.mark.parametrize("prompt", [{}, {"add_generation_prompt": False}])
async def test_an_answer_goes_on_with_the_text_that_is_given(
    http: httpx.AsyncClient, content: Any, prompt: dict[str, bool]
) -> None:
    answer = await http.post("/v1/chat/completions", json=begun(content, **prompt))
    assert answer.json()["choices"][0]["message"]["content"] == "ig world"
    assert answer.json()["usage"]["prompt_tokens"] == 5
    assert answer.json()["usage"]["completion_tokens"] == 2


async def test_a_streamed_answer_holds_new_text_only(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=begun("hello ", stream=True))
    texts = [event["choices"][0]["delta"].get("content") for event in events(answer)]
    assert texts == ["", "big ", "world", None]


async def test_a_text_that_is_empty_is_an_answer_not_begun(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=begun(""))
    assert answer.json()["choices"][0]["message"]["content"] == "hello big world"


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"messages": question()["messages"]}, "continue_final_message", "of the assistant"),
        ({"add_generation_prompt": True}, "continue_final_message", "exclude each other"),
        (
            {"continue_final_message": False, "add_generation_prompt": False},
            "add_generation_prompt",
            "needs continue_final_message",
        ),
        ({"continue_final_message": "yes please"}, "continue_final_message", "boolean"),
        ({"messages": [{"role": "assistant", "content": ""}]}, "messages", "say nothing"),
    ],
)
async def test_what_cannot_be_gone_on_with_is_refused_by_name(
    http: httpx.AsyncClient, fields: dict[str, Any], param: str, reason: str
) -> None:
    answer = await http.post("/v1/chat/completions", json=begun("hello") | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert reason in error["message"]


@pytest.mark.parametrize("value", [None, True])
async def test_neutral_values_ask_for_an_answer_as_ever(
    http: httpx.AsyncClient, value: bool | None
) -> None:
    fields = {"continue_final_message": value and False, "add_generation_prompt": value}
    answer = await http.post("/v1/chat/completions", json=question("hello", **fields))
    assert answer.json()["choices"][0]["message"]["content"] == "hello"


async def test_several_answers_come_whole_or_as_streams_side_by_side(
    http: httpx.AsyncClient,
) -> None:
    asked = question(n=3, stream_options={"include_usage": True})
    whole = (await http.post("/v1/chat/completions", json=asked)).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in whole["choices"]} == {"hello there"}
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (2, 6)
    *chunks, last = events(await http.post("/v1/chat/completions", json=asked | {"stream": True}))
    for index in range(3):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant"
        assert "".join(c["delta"].get("content", "") for c in own) == "hello there"
        assert own[-1]["finish_reason"] == "stop"
    assert last["usage"] == whole["usage"]


async def test_more_answers_than_slots_are_made_no_faster_than_slots_allow(
    client_of: ClientOf,
) -> None:
    class Counting(EchoEngine):
        most = 0

        async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
            async for delta in super().stream(request):
                self.most = max(self.most, self.running)
                yield delta

    engine = Counting(delay_s=0.001)
    worker = ModelWorker(engine, Gate(2, 0), MediaReader(MediaConfig()), worker_id="id")
    async with client_of(build_app(worker, max_body_bytes=10**6)) as http:
        answer = (await http.post("/v1/chat/completions", json=question(n=5))).json()
    assert len(answer["choices"]) == 5
    assert engine.most == 2


@pytest.mark.parametrize("count", [1, 3])
async def test_timings_are_those_of_one_answer_however_many_there_are(
    client_of: ClientOf,
    make_worker: Callable[..., ModelWorker],
    scripted: Callable[..., Any],
    count: int,
) -> None:
    stages = Stages(queue_s=0.1, vision_s=0.2, prefill_s=0.3, decode_s=2.0)
    end = Delta("", "stop", Usage(9, completion_tokens=11, cached_tokens=8), stages)
    worker = make_worker(scripted("a", end))
    app = build_app(worker, max_body_bytes=10**6)
    async with client_of(app) as http:
        asked = question(n=count) | {"model": "scripted"}
        answer = (await http.post("/v1/chat/completions", json=asked)).json()
        metrics = (await http.get("/metrics")).text
    assert answer["timings"]["decode_tokens_per_s"] == 5.0
    assert answer["timings"]["vision_s"] == 0.2
    assert answer["timings"]["decode_s"] == 2.0
    assert answer["timings"]["queue_s"] >= 0.1
    assert answer["usage"]["completion_tokens"] == 11 * count
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 8
    assert "llava_worker_decode_tokens_per_second_sum 5.0" in metrics
    assert 'llava_worker_stage_seconds_sum{stage="prefill"} 0.3' in metrics
    assert "llava_worker_prefix_hits_total 1.0" in metrics


async def test_an_image_tag_in_user_text_is_plain_text(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=question("what is <image> here"))
    assert answer.json()["choices"][0]["message"]["content"] == "what is <image> here"
    assert answer.json()["usage"]["prompt_tokens_details"]["image_tokens"] == 0


async def test_what_the_request_asks_for_reaches_the_engine(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    engine = scripted(END)
    fields: dict[str, Any] = {
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 7,
        "repetition_penalty": 1.5,
        "seed": 11,
        "max_completion_tokens": 9,
        "stop": ["a", "b"],
    }
    async with client_of(build_app(make_worker(engine), max_body_bytes=10_000)) as http:
        await http.post("/v1/chat/completions", json=question(**fields) | {"model": "scripted"})
    (request,) = engine.asked
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0, 0.5, 7)
    assert (sampling.repetition_penalty, sampling.seed) == (1.5, 11)
    assert (sampling.max_new_tokens, sampling.stop) == (9, ("a", "b"))


async def test_what_the_request_leaves_out_is_the_checkpoints_choice(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    engine = scripted(END)
    chosen = SamplingDefaults(temperature=0.3, top_p=0.8, top_k=20)
    engine.card = engine.card.model_copy(update={"sampling": chosen})
    async with client_of(build_app(make_worker(engine), max_body_bytes=10_000)) as http:
        await http.post("/v1/chat/completions", json=question() | {"model": "scripted"})
        await http.post("/v1/chat/completions", json=question(top_k=0) | {"model": "scripted"})
    (silent, asking) = (request.sampling for request in engine.asked)
    assert (silent.temperature, silent.top_p, silent.top_k) == (0.3, 0.8, 20)
    assert (asking.temperature, asking.top_k) == (0.3, 0)


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


async def test_each_of_several_answers_counts_and_more_than_there_are_slots_are_served(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker]
) -> None:
    worker = make_worker(EchoEngine("echo"), limit=4, max_waiting=0)
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        async with worker.gate.slots(3, partial(asyncio.sleep, 0)):
            status = WorkerStatus.model_validate((await http.post("/worker_get_status")).json())
            two = await http.post("/v1/chat/completions", json=question(n=2))
            one = await http.post("/v1/chat/completions", json=question())
        many = await http.post("/v1/chat/completions", json=question(n=9))
    assert (status.queue_length, status.capacity) == (3, 4)
    assert (two.status_code, one.status_code) == (429, 200)
    assert len(many.json()["choices"]) == 9
    assert worker.gate.queue_length == 0


async def test_models_and_status_describe_this_worker(
    http: httpx.AsyncClient, worker: ModelWorker
) -> None:
    (card,) = ModelList.model_validate((await http.get("/v1/models")).json()).data
    status = WorkerStatus.model_validate((await http.post("/worker_get_status")).json())
    assert card.id == "echo"
    assert status.model_names == ["echo"]
    assert (status.worker_id, status.capacity) == (worker.worker_id, worker.gate.limit)
    assert status.cards == [card]


async def test_health_follows_the_engine_and_the_gate(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker], scripted: Callable[..., Any]
) -> None:
    engine = scripted(END)
    worker = make_worker(engine)
    async with client_of(build_app(worker, max_body_bytes=10_000)) as http:
        assert (await http.get("/health")).status_code == 200
        worker.gate.close()
        assert (await http.get("/health")).status_code == 503
        engine.healthy = False
        answer = await http.get("/health")
    assert answer.status_code == 503
    assert "restart" in answer.json()["error"]["message"]


async def test_metrics_count_what_happened(http: httpx.AsyncClient) -> None:
    await http.post("/v1/chat/completions", json=question())
    await http.post("/v1/chat/completions", json=question(max_tokens=10_000))
    metrics = (await http.get("/metrics")).text.splitlines()
    assert 'llava_worker_requests_total{outcome="completed"} 1.0' in metrics
    assert 'llava_worker_requests_total{outcome="context_length_exceeded"} 1.0' in metrics
    assert 'llava_worker_tokens_total{kind="completion"} 2.0' in metrics
    assert "llava_worker_time_to_first_token_seconds_count 1.0" in metrics
    assert "llava_worker_running 0.0" in metrics
    assert "llava_worker_slots 2.0" in metrics
