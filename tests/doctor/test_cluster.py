"""Checks of a controller and its workers, on real ones."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from fastapi import FastAPI

from llava_serve import __version__
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.config import MediaConfig
from llava_serve.doctor import cluster
from llava_serve.doctor.cluster import HttpAnswer
from llava_serve.engines.echo import EchoEngine
from llava_serve.http.serving import served
from llava_serve.http.tls import Certificate
from llava_serve.media.reader import MediaReader
from llava_serve.worker.app import build_app as build_worker
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.certificates import Certificates
from tests.cluster.conftest import TOKEN, status_of

WORKER = "http://10.1.2.3:40000"


def controller_with(*addresses: str) -> tuple[FastAPI, Registry]:
    workers = Registry(shortest_queue)
    for address in addresses:
        workers.register(address, status_of(), now=0.0, expires=False)
    return build_app(
        workers, AdmissionPolicy(TOKEN), ControllerSettings(clock=lambda: 1.0)
    ), workers


@asynccontextmanager
async def asked(app: FastAPI, path: str) -> AsyncIterator[tuple[str, HttpAnswer]]:
    async with served(app) as address, aiohttp.ClientSession(trust_env=False) as session:
        yield address, await cluster.ask(session, address + path, {})


async def test_a_controller_is_known_by_its_health() -> None:
    async with asked(controller_with(WORKER)[0], "/health") as (address, health):
        found = cluster.check_identity(address, health)
    assert (found.level, "1 live" in found.message) == ("ok", True)


async def test_a_worker_is_no_controller() -> None:
    worker = ModelWorker(EchoEngine(), Gate(1, 1), MediaReader(MediaConfig()), worker_id="one")
    async with asked(build_worker(worker, max_body_bytes=9999), "/health") as (address, health):
        found = cluster.check_identity(address, health)
    assert (found.level, "a worker answers" in found.message) == ("problem", True)


async def test_a_foreign_server_is_no_controller() -> None:
    async with asked(FastAPI(), "/health") as (address, health):
        found = cluster.check_identity(address, health)
    assert (found.level, "something else" in found.message) == ("problem", True)


async def test_a_name_that_the_controller_does_not_serve_comes_with_its_remedy() -> None:
    async with (
        served(controller_with()[0]) as address,
        aiohttp.ClientSession(trust_env=False) as session,
    ):
        health = await cluster.ask(session, f"{address}/health", {"Host": "evil.example.com"})
    found = cluster.check_identity(address, health)
    assert (found.level, "--allowed-hosts" in found.remedy) == ("problem", True)


async def test_nobody_at_the_address_is_a_problem_with_its_reason() -> None:
    async with aiohttp.ClientSession(trust_env=False) as session:
        with pytest.raises(aiohttp.ClientError) as raised:
            await cluster.ask(session, "http://127.0.0.1:9/health", {})
    found = cluster.unreachable("http://127.0.0.1:9", raised.value)
    assert (found.level, "refused" in found.message) == ("problem", True)


def test_silence_is_a_problem_too() -> None:
    assert "no answer" in cluster.unreachable("http://c", TimeoutError()).message


async def test_a_certificate_that_is_not_trusted_is_no_controller_to_start(tmp_path: Path) -> None:
    certificate = Certificate(*Certificates.made(tmp_path).issue("127.0.0.1"))
    async with (
        served(controller_with()[0], certificate=certificate) as address,
        aiohttp.ClientSession(trust_env=False) as session,
    ):
        with pytest.raises(aiohttp.ClientError) as raised:
            await cluster.ask(session, f"{address}/health", {})
    found = cluster.unreachable(address, raised.value)
    assert "certificate is not trusted" in found.message
    assert "--ca-file" in found.remedy and "Start" not in found.remedy


@pytest.mark.parametrize(("apart_s", "level"), [(1, "ok"), (30, "warning"), (3600, "problem")])
def test_clocks_apart_are_found(apart_s: float, level: str) -> None:
    health = HttpAnswer(200, {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}, {})
    for sign in (-1, 1):
        assert cluster.check_clock(health, 1767225600 + sign * apart_s).level == level


def test_a_controller_without_a_clock_is_ok() -> None:
    assert cluster.check_clock(HttpAnswer(200, {}, {}), 0.0).level == "ok"


async def test_versions_are_compared() -> None:
    async with asked(controller_with()[0], "/openapi.json") as (_, described):
        assert cluster.check_version(described).level == "ok"
    other = HttpAnswer(200, {}, {"info": {"version": "0.0.0-old"}})
    found = cluster.check_version(other)
    assert (found.level, __version__ in found.message) == ("warning", True)
    assert cluster.check_version(HttpAnswer(403, {}, {})).level == "warning"
    assert cluster.check_version(HttpAnswer(200, {}, {"info": 5})).level == "warning"


async def test_a_worker_that_nobody_can_reach_is_a_problem() -> None:
    app, workers = controller_with(WORKER, "http://10.1.2.4:40000")
    workers.mark_unreachable(workers.known()[0])
    async with asked(app, "/workers") as (_, listed):
        lost, alive = cluster.check_workers(listed)
    assert (lost.level, WORKER in lost.message, "--worker" in lost.remedy) == (
        "problem",
        True,
        True,
    )
    assert alive.level == "ok"


async def test_a_silent_worker_is_a_problem() -> None:
    app, workers = controller_with()
    workers.register(WORKER, status_of(), now=-100.0)
    async with asked(app, "/workers") as (_, listed):
        (silent,) = cluster.check_workers(listed)
    assert (silent.level, "101 s" in silent.message) == ("problem", True)


async def test_no_worker_and_no_leave_to_see_them_are_warnings() -> None:
    async with asked(controller_with()[0], "/workers") as (_, listed):
        (none,) = cluster.check_workers(listed)
    (hidden,) = cluster.check_workers(HttpAnswer(403, {}, json.loads('{"error": {}}')))
    assert (none.level, hidden.level) == ("warning", "warning")
