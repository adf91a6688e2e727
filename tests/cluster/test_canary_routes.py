"""What users and operators see of the canary: requests with pictures, and the state of workers."""

import asyncio
import base64
import io
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.waiting.line import LineLimits
from llava_serve.http.serving import served
from tests.cluster.conftest import BEARER, TOKEN, Stack
from tests.cluster.sighted import Answer, SightedWorker, is_blind, is_busy, looks


def question(with_picture: bool = True) -> dict[str, Any]:
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(encoded, "PNG")
    url = "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "What color is it?"},
    ]
    said = content if with_picture else "hello"
    return {"model": "m", "messages": [{"role": "user", "content": said}]}


class Controller:
    def __init__(self, http: httpx.AsyncClient, workers: Registry, stack: Stack) -> None:
        self.http = http
        self.workers = workers
        self._stack = stack

    async def join(self, answer: Answer) -> SightedWorker:
        worker = SightedWorker(answer)
        worker.address = await self._stack.enter(served(worker.app()))
        body = {"worker_name": worker.address, "worker_status": worker.status.model_dump()}
        joined = await self.http.post("/register_worker", json=body, headers=BEARER)
        assert joined.status_code == 200
        return worker

    async def ask(self, with_picture: bool = True) -> httpx.Response:
        return await self.http.post("/v1/chat/completions", json=question(with_picture))

    async def sees(self) -> dict[str, bool | None]:
        listed = (await self.http.get("/workers")).json()
        return {worker["address"]: worker["sees"] for worker in listed}


@pytest.fixture
async def controller(stack: Stack) -> Controller:
    return await start(stack, LineLimits())


async def start(stack: Stack, waiting: LineLimits) -> Controller:
    workers = Registry(shortest_queue, check_within_s=60)
    settings = ControllerSettings(waiting=waiting, canary_every_s=600)
    app = build_app(workers, AdmissionPolicy(TOKEN), settings)
    address = await stack.enter(served(app))
    http = httpx.AsyncClient(base_url=address, trust_env=False, timeout=30)
    return Controller(await stack.enter(http), workers, stack)


async def test_a_picture_waits_for_the_check_no_longer_than_a_request_may_wait(
    stack: Stack,
) -> None:
    controller = await start(stack, LineLimits(max_wait_s=0.05))
    await controller.join(is_busy)
    refused = await controller.ask()
    assert refused.json()["error"]["code"] == "worker_unchecked"


async def test_a_picture_that_comes_with_its_worker_waits_for_the_check(
    controller: Controller,
) -> None:
    worker = await controller.join(looks)
    answer = await controller.ask()
    assert answer.json()["choices"][0]["message"]["content"] == "red"
    assert worker.canaries == 3
    assert len(worker.questions) == 4


async def test_no_picture_reaches_a_blind_worker(controller: Controller) -> None:
    worker = await controller.join(is_blind)
    refused = await controller.ask()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "only_blind_workers"
    assert worker.canaries == len(worker.questions) == 6
    assert (await controller.ask(with_picture=False)).status_code == 200


async def test_pictures_go_to_the_worker_that_sees(controller: Controller) -> None:
    blind, sighted = await controller.join(is_blind), await controller.join(looks)
    answers = await asyncio.gather(*(controller.ask() for _ in range(8)))
    assert {one.status_code for one in answers} == {200}
    assert len(blind.questions) == blind.canaries
    assert len(sighted.questions) == sighted.canaries + 8


async def test_a_stream_waits_for_the_check_too(controller: Controller) -> None:
    await controller.join(is_blind)
    body = question() | {"stream": True}
    refused = await controller.http.post("/v1/chat/completions", json=body)
    assert refused.json()["error"]["code"] == "only_blind_workers"


async def test_a_worker_that_joined_another_controller_is_asked_once_it_reports_here(
    controller: Controller, stack: Stack
) -> None:
    worker = SightedWorker(is_blind)
    worker.address = await stack.enter(served(worker.app()))
    entry = RegisteredWorker(worker.address, worker.status, time.monotonic(), reports_here=False)
    controller.workers.adopt(entry, 0)
    beat = {"worker_name": worker.address, "queue_length": 0}
    assert (await controller.http.post("/receive_heart_beat", json=beat, headers=BEARER)).json()
    assert (await controller.ask()).json()["error"]["code"] == "only_blind_workers"
    assert worker.canaries == len(worker.questions) == 6


async def test_the_state_is_shown(controller: Controller) -> None:
    blind = await controller.join(is_blind)
    await controller.ask()
    (listed,) = (await controller.http.get("/workers")).json()
    assert listed["sees"] is False
    assert "whatever the pictures show" in listed["sight"]
    card = (await controller.http.get("/v1/models/m")).json()
    assert card["sees"] is False
    shown = (await controller.http.get("/metrics")).text
    assert f'llava_controller_worker_sees{{worker="{blind.address}"}} 0.0' in shown
    assert 'llava_controller_canary_checks_total{outcome="blind"} 1.0' in shown

    sighted = await controller.join(looks)
    assert (await controller.ask()).status_code == 200
    assert await controller.sees() == {blind.address: False, sighted.address: True}
    (card,) = (await controller.http.get("/v1/models")).json()["data"]
    assert card["sees"] is True


async def test_checks_are_no_requests_in_the_metrics(controller: Controller) -> None:
    await controller.join(looks)
    await controller.ask()
    shown = (await controller.http.get("/metrics")).text
    assert 'llava_controller_requests_total{outcome="ok",wire="native"} 1.0' in shown
