"""A controller and a worker keep what shows the cluster's inside from strangers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.access import Access
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.cluster.conftest import BEARER, TOKEN, chat, status_of

WORKER = "http://10.1.2.3:40000"


def controller() -> FastAPI:
    workers = Registry(shortest_queue)
    workers.register(WORKER, status_of(), now=0.0, expires=False)
    return build_controller(workers, AdmissionPolicy(TOKEN))


def worker() -> FastAPI:
    one = ModelWorker(EchoEngine(), Gate(1, 1), MediaReader(MediaConfig()), worker_id="one")
    return build_worker(one, max_body_bytes=9999, access=Access(token=TOKEN))


@pytest.fixture(params=[controller, worker])
async def app(request: pytest.FixtureRequest) -> AsyncIterator[FastAPI]:
    async with AsyncExitStack() as running:
        app = request.param()
        await running.enter_async_context(app.router.lifespan_context(app))
        yield app


def asked_from(app: FastAPI, caller: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(caller, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_a_stranger_reads_no_metrics_and_no_documentation(app: FastAPI) -> None:
    async with asked_from(app, "10.0.0.9") as http:
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert (await http.get(path)).status_code == 403
            assert (await http.get(path, headers=BEARER)).status_code == 200
    async with asked_from(app, "127.0.0.1") as http:
        assert (await http.get("/metrics")).status_code == 200


async def test_a_stranger_sees_no_worker() -> None:
    async with asked_from(controller(), "10.0.0.9") as http:
        assert WORKER not in (await http.get("/workers")).text
        assert WORKER in (await http.get("/workers", headers=BEARER)).text


async def test_a_web_page_that_made_its_name_point_here_gets_nothing(app: FastAPI) -> None:
    headers = {"Host": "evil.example.com", "Origin": "http://evil.example.com"}
    async with asked_from(app, "127.0.0.1") as http:
        asked = await http.post("/v1/chat/completions", json=chat(), headers=headers)
        assert asked.status_code == 400
        assert asked.json()["error"]["code"] == "host_refused"
        assert (await http.get("/v1/models", headers=headers)).status_code == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/worker_generate_stream"])
async def test_a_form_of_a_foreign_page_is_no_question(app: FastAPI, path: str) -> None:
    body = '{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}'
    async with asked_from(app, "127.0.0.1") as http:
        answer = await http.post(path, content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
