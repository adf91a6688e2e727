"""Operators see the workers, drain and remove them, probe addresses and change the log level."""

import logging
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from llava_serve import logs
from llava_serve.api_key import ApiKey
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.errors import KeyRefused
from llava_serve.http.access import Access
from tests.cluster.conftest import BEARER, TOKEN, Cluster, StartWorker, chat, status_of

ROUTES = [
    ("GET", "/admin/workers"),
    ("GET", "/admin/models"),
    ("POST", "/admin/workers/id/drain"),
    ("POST", "/admin/workers/id/undrain"),
    ("DELETE", "/admin/workers/id"),
    ("PUT", "/admin/log-level"),
    ("POST", "/admin/probe"),
]


@pytest.fixture
def log_level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logs.set_level(logging.getLevelName(before))


async def states(cluster: Cluster) -> dict[str, str]:
    listed = (await cluster.http.get("/admin/workers", headers=BEARER)).json()
    return {worker["address"]: worker["state"] for worker in listed}


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_may_without_the_token_not_even_on_loopback(
    cluster: Cluster, method: str, path: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer guessed"}):
        answer = await cluster.http.request(method, path, json={}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_only")


async def find_key(text: str) -> ApiKey:
    if text not in ("user", "admin"):
        raise KeyRefused("unknown")
    return ApiKey(id=text, name=text, role="admin" if text == "admin" else "user")


async def test_a_key_needs_the_role_admin() -> None:
    access = Access(token=TOKEN, find_key=find_key)
    settings = ControllerSettings(access=access)
    app = build_app(Registry(shortest_queue), AdmissionPolicy(TOKEN), settings)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        shown = {
            key: (await http.get("/admin/workers", headers={"x-api-key": key})).status_code
            for key in ("user", "admin", "unknown")
        }
    assert shown == {"user": 403, "admin": 200, "unknown": 401}


async def test_a_drained_worker_ends_what_runs_and_gets_nothing_new(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    one, two = await start_worker(cluster), await start_worker(cluster)
    drained = await cluster.http.post(f"/admin/workers/{one.worker_id}/drain", headers=BEARER)
    assert drained.status_code == 204
    assert await states(cluster) == {one.address: "drained", two.address: "alive"}
    for _ in range(4):
        assert (await cluster.http.post("/v1/chat/completions", json=chat())).is_success
    assert (len(one.seen), len(two.seen)) == (0, 4)
    await cluster.http.post(f"/admin/workers/{one.worker_id}/undrain", headers=BEARER)
    assert await states(cluster) == {one.address: "alive", two.address: "alive"}


async def test_a_worker_is_removed_by_its_address(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    path = "/admin/workers/" + quote(worker.address, safe="")
    assert (await cluster.http.delete(path, headers=BEARER)).status_code == 204
    assert await states(cluster) == {}
    again = await cluster.http.delete(path, headers=BEARER)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "worker_not_found")


async def test_models_are_summed_over_their_workers(cluster: Cluster) -> None:
    for i, capacity in enumerate((4, 8, 16)):
        status = status_of("one", capacity=capacity, queue_length=i)
        cluster.workers.register(f"http://w{i}", status, now=0.0, expires=False)
    cluster.workers.mark_unreachable(cluster.workers.known()[2])
    (model,) = (await cluster.http.get("/admin/models", headers=BEARER)).json()
    assert model == {
        "model": "one",
        "workers": 3,
        "alive": 2,
        "slots": 12,
        "queue_length": 1,
        "waiting": 0,
    }


async def test_a_probe_says_what_answers_and_why_nothing_does(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(model="mine")
    for address, reachable in ((worker.address, True), ("http://127.0.0.1:9", False)):
        body = {"address": address}
        seen = (await cluster.http.post("/admin/probe", json=body, headers=BEARER)).json()
        assert seen["reachable"] is reachable
        assert seen["models"] == ["mine"] if reachable else "refused" in seen["reason"]


async def test_only_workers_that_joined_are_shown_the_token(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    for worker, shown in (
        (await start_worker(), None),
        (await start_worker(cluster), BEARER["Authorization"]),
    ):
        body = {"address": worker.address}
        seen = (await cluster.http.post("/admin/probe", json=body, headers=BEARER)).json()
        assert (seen["reachable"], worker.was_shown) == (True, shown)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "http://a/path", "nonsense"])
async def test_a_probe_takes_addresses_only(cluster: Cluster, address: str) -> None:
    body = {"address": address}
    assert (await cluster.http.post("/admin/probe", json=body, headers=BEARER)).status_code == 400


@pytest.mark.usefixtures("log_level")
async def test_the_log_level_changes_while_the_controller_runs(cluster: Cluster) -> None:
    for level in ("debug", "warning"):
        body = {"level": level}
        answer = await cluster.http.put("/admin/log-level", json=body, headers=BEARER)
        assert answer.status_code == 204
        assert logging.getLogger().level == logging.getLevelName(level.upper())
        assert logging.getLogger("httpx").level == logging.WARNING
    bad = await cluster.http.put("/admin/log-level", json={"level": "loud"}, headers=BEARER)
    assert bad.status_code == 400
