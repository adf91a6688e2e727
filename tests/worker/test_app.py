"""The worker's routes on the native wire, asked without a socket."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.engines.echo import EchoEngine
from llava_serve.protocol import sse
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.model_card import ModelList, SamplingDefaults
from llava_serve.request import Delta, Stages, Usage
from llava_serve.worker.app import build_app
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
