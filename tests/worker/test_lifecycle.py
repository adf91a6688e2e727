"""A worker joins a real controller, leaves it before it stops, and gives up when its engine has."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from llava_serve.background import background
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app as build_controller
from llava_serve.cluster.registry.dispatch import DISPATCH
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import WorkerConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.worker.app import build_app
from llava_serve.worker.lifecycle import LoadedModelWatch, WorkerLifecycle, stop_when_unhealthy
from llava_serve.worker.worker import ModelWorker
from tests.ports import free_port

QUESTION = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}


class ClosableEngine(EchoEngine):
    """Remembers that it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def models_at(http: httpx.AsyncClient, controller: str) -> list[str]:
    answer = await http.get(f"{controller}/v1/models")
    return [card["id"] for card in answer.json()["data"]]


async def test_a_worker_joins_serves_through_the_controller_and_leaves(
    make_worker: Callable[..., ModelWorker], tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    controller_app = build_controller(
        Registry(DISPATCH["shortest_queue"], 45.0), AdmissionPolicy("secret")
    )
    engine = ClosableEngine("echo")
    worker = make_worker(engine)
    async with served(controller_app) as controller, httpx.AsyncClient() as http:
        config = WorkerConfig(
            controller=(controller,), port=free_port(), cluster_token_file=token_file
        )
        lifecycle = WorkerLifecycle(worker, config, LoadedModelWatch(worker.engine.card))
        app = build_app(worker, max_body_bytes=1000, background=lifecycle.running)
        async with served(app, before_stop=lifecycle.leave, port=config.port):
            with anyio.fail_after(20):
                while "echo" not in await models_at(http, controller):
                    pass
            answer = await http.post(f"{controller}/v1/chat/completions", json=QUESTION)
        assert answer.json()["choices"][0]["message"]["content"] == "hello there"
        assert await models_at(http, controller) == []
    assert engine.is_closed
    assert not worker.gate.is_open


async def test_a_worker_joins_every_controller_that_is_there_and_leaves_each(
    make_worker: Callable[..., ModelWorker], tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    one, other = (
        build_controller(Registry(DISPATCH["shortest_queue"], 45.0), AdmissionPolicy("secret"))
        for _ in range(2)
    )
    worker = make_worker(EchoEngine("echo"))
    async with served(one) as first, served(other) as second, httpx.AsyncClient() as http:
        config = WorkerConfig(
            controller=("http://127.0.0.1:9", f"{first},{second}"),
            port=free_port(),
            cluster_token_file=token_file,
        )
        lifecycle = WorkerLifecycle(worker, config, LoadedModelWatch(worker.engine.card))
        app = build_app(worker, max_body_bytes=1000, background=lifecycle.running)
        async with served(app, before_stop=lifecycle.leave, port=config.port):
            with anyio.fail_after(20):
                for address in (first, second):
                    while "echo" not in await models_at(http, address):
                        pass
        for address in (first, second):
            assert await models_at(http, address) == []


async def test_alone_it_needs_no_controller_and_no_token(
    make_worker: Callable[..., ModelWorker], tmp_path: Path
) -> None:
    worker = make_worker(EchoEngine("echo"))
    config = WorkerConfig(no_register=True, state_dir=tmp_path / "none")
    lifecycle = WorkerLifecycle(worker, config, LoadedModelWatch(worker.engine.card))
    app = build_app(worker, max_body_bytes=1000, background=lifecycle.running)
    async with served(app, before_stop=lifecycle.leave) as address, httpx.AsyncClient() as http:
        assert (await http.get(f"{address}/health")).status_code == 200
    assert is_empty(tmp_path)


async def test_an_engine_beyond_repair_stops_the_process(scripted: Callable[..., Any]) -> None:
    engine, stopped = scripted(), asyncio.Event()
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        engine.healthy = len(slept) < 3

    with anyio.fail_after(10):
        await stop_when_unhealthy(engine, stop=stopped.set, sleep=sleep)
    assert len(slept) == 3
    assert stopped.is_set()


async def test_a_healthy_engine_is_left_alone(scripted: Callable[..., Any]) -> None:
    stopped = asyncio.Event()
    async with background(stop_when_unhealthy(scripted(), stop=stopped.set), "watch-health"):
        await asyncio.sleep(0)
    assert not stopped.is_set()


def test_a_named_token_file_that_is_missing_is_said_and_not_made(
    make_worker: Callable[..., ModelWorker], tmp_path: Path
) -> None:
    config = WorkerConfig(cluster_token_file=tmp_path / "token")
    engine = EchoEngine("echo")
    with pytest.raises(SystemExit, match="/token: there is no such file here"):
        WorkerLifecycle(make_worker(engine), config, LoadedModelWatch(engine.card))
    assert list(tmp_path.iterdir()) == []


def test_a_worker_answers_under_the_name_that_the_controller_has_of_it(
    make_worker: Callable[..., ModelWorker],
) -> None:
    config = WorkerConfig(no_register=True, worker="http://gpu7.example.com:40000")
    engine = EchoEngine("echo")
    access = WorkerLifecycle(make_worker(engine), config, LoadedModelWatch(engine.card)).access
    assert access.hosts.serves("gpu7.example.com:40000")
    assert not access.hosts.serves("gpu8.example.com:40000")
    assert access.token is None
