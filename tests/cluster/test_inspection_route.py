"""Inspections through a controller: keys, limits and dispatch of a completion."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import image_affine
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.base import Engine
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.cluster.conftest import TOKEN, Cluster, Stack, StartRawWorker, chat, chunked, status_of
from tests.cluster.keyed import Keyed, echo_worker, keyed_controller
from tests.worker.conftest import ScriptedEngine

INSPECT = "/v1/inspect"


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    async with keyed_controller(tmp_path) as keyed:
        yield keyed


async def test_a_key_is_needed_and_its_requests_are_counted(keyed: Keyed) -> None:
    headers = await keyed.headers(requests_per_minute=1)
    async with echo_worker(keyed):
        without = await keyed.http.post(INSPECT, json=chat())
        told = await keyed.http.post(INSPECT, json=chat(), headers=headers)
        refused = await keyed.http.post(INSPECT, json=chat(), headers=headers)
    assert (without.status_code, without.json()["error"]["code"]) == (401, "missing_api_key")
    assert (told.status_code, told.json()["prompt"]["tokens"]) == (200, 2)
    assert told.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.status_code == 429


async def test_a_key_inspects_its_own_models_only(keyed: Keyed) -> None:
    headers = await keyed.headers(models=("other",))
    async with echo_worker(keyed):
        refused = await keyed.http.post(INSPECT, json=chat(), headers=headers)
    assert refused.json()["error"]["code"] == "model_not_allowed"


async def start(cluster: Cluster, stack: Stack, engine: Engine, worker_id: str) -> ModelWorker:
    worker = ModelWorker(engine, Gate(4, 4), MediaReader(MediaConfig()), worker_id)
    address = await stack.enter(served(build_app(worker, max_body_bytes=10**7)))
    cluster.workers.register(address, worker.status(engine.card), time.monotonic())
    return worker


async def test_another_worker_is_asked_where_one_cannot_tell(
    cluster: Cluster, stack: Stack
) -> None:
    await start(cluster, stack, ScriptedEngine(), "cannot")
    asked = chat(model="scripted")
    alone = await cluster.http.post(INSPECT, json=asked)
    assert (alone.status_code, alone.json()["error"]["code"]) == (400, "inspection_unsupported")
    await start(cluster, stack, EchoEngine("scripted"), "can")
    for _ in range(4):
        assert (await cluster.http.post(INSPECT, json=asked)).status_code == 200


async def test_nothing_of_it_counts_as_generated(cluster: Cluster, stack: Stack) -> None:
    await start(cluster, stack, EchoEngine("echo"), "one")
    assert (await cluster.http.post(INSPECT, json=chat(stream=True))).status_code == 200
    metrics = (await cluster.http.get("/metrics")).text
    assert 'requests_total{outcome="ok",wire="inspection"} 1.0' in metrics
    assert "generation_tokens_total{" not in metrics
    assert "time_to_first_token_seconds_count{" not in metrics


async def test_it_goes_to_the_worker_that_was_asked_about_the_picture(
    start_raw_worker: StartRawWorker, stack: Stack
) -> None:
    registry = Registry(image_affine)
    app = build_controller(registry, AdmissionPolicy(TOKEN))
    address = await stack.enter(served(app))
    answer = chunked("application/json", b"{}", is_complete=True)
    workers = [await start_raw_worker(answer) for _ in range(3)]
    for i, worker in enumerate(workers):
        registry.register(worker.address, status_of(worker_id=str(i)), time.monotonic())
    async with httpx.AsyncClient(base_url=address, trust_env=False) as http:
        for i in range(6):
            image = {"url": f"data:;base64,{i}AAA"}
            body = chat() | {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": image}]}
                ]
            }
            heads = []
            for path in ("/v1/chat/completions", INSPECT):
                for worker in workers:
                    worker.head = b""
                assert (await http.post(path, json=body)).status_code == 200
                heads.append([bool(worker.head) for worker in workers])
            assert heads[0] == heads[1]
            assert sum(heads[0]) == 1


@pytest.mark.parametrize(
    ("query", "path"), [("", INSPECT), ("?pixels=1", f"{INSPECT}?pixels=true")]
)
async def test_the_worker_is_told_whether_pixels_are_asked_for(
    cluster: Cluster, start_raw_worker: StartRawWorker, query: str, path: str
) -> None:
    body: dict[str, Any] = {"object": "inspection"}
    answer = chunked("application/json", json.dumps(body).encode(), is_complete=True)
    worker = await start_raw_worker(answer)
    cluster.workers.register(worker.address, status_of(), time.monotonic())
    assert (await cluster.http.post(INSPECT + query, json=chat())).json() == body
    assert worker.head.startswith(f"POST {path} ".encode())
