"""The snapshot for operators has what the controller knows, and costs no question to any worker."""

from typing import Any

import httpx
import pytest

from llava_serve import __version__
from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import build_app
from llava_serve.cluster.operators.snapshot import Snapshots
from llava_serve.cluster.recording.failure_log import FailureLog
from llava_serve.cluster.recording.vitals_history import VitalsHistory
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.registry.sight import Sight
from llava_serve.cluster.waiting.line import Line, LineLimits
from llava_serve.protocol.cluster_snapshot import ClusterSnapshot, WorkerSnapshot
from llava_serve.protocol.vitals import Vitals
from tests.cluster.conftest import (
    BEARER,
    TOKEN,
    Cluster,
    EchoWorker,
    StartWorker,
    chat,
    register,
    status_of,
)

CACHES = {
    "kv_tokens_total": 1000,
    "kv_tokens_held": 250,
    "kv_tokens_cached": 100,
    "feature_bytes": 5,
    "feature_hits": 3,
    "feature_misses": 1,
}


async def snapshot_of(cluster: Cluster, **asked: Any) -> ClusterSnapshot:
    answer = await cluster.http.get("/admin/cluster", params=asked, headers=BEARER)
    assert answer.status_code == 200, answer.text
    return ClusterSnapshot.model_validate_json(answer.content)


async def tell(cluster: Cluster, worker: EchoWorker, **vitals: Any) -> None:
    told = Vitals(version="1.2", **vitals).model_dump()
    body = {"worker_name": worker.address, "queue_length": 0, "vitals": told}
    answer = await cluster.http.post("/receive_heart_beat", json=body, headers=BEARER)
    assert answer.json() == {"exist": True}


async def test_it_is_for_admins_only(cluster: Cluster) -> None:
    assert (await cluster.http.get("/admin/cluster")).status_code == 403
    assert (await cluster.http.get("/admin/cluster", headers=BEARER)).status_code == 200


async def test_it_has_what_a_worker_tells_with_its_heartbeats(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster, model="mine", capacity=4)
    before = (await snapshot_of(cluster)).workers[0]
    assert (before.vitals, before.tokens_per_s) == (None, [])
    calls = worker.status_calls
    await tell(cluster, worker, uptime_s=5, generated_tokens=10, engine=CACHES)
    await tell(cluster, worker, uptime_s=6, generated_tokens=40, precision="bfloat16")
    snapshot = await snapshot_of(cluster)
    assert (snapshot.version, snapshot.states, snapshot.slots) == (__version__, {"alive": 1}, 4)
    (shown,) = snapshot.workers
    assert (shown.engine, shown.models, shown.slots) == ("echo", ["mine"], 4)
    assert shown.vitals is not None
    assert (shown.vitals.version, shown.vitals.precision) == ("1.2", "bfloat16")
    assert shown.kv_fraction == [0.25, None]
    assert shown.tokens_per_s[0] is None and (shown.tokens_per_s[1] or 0) > 0
    assert worker.status_calls == calls


async def test_failures_are_counted_by_code_with_their_remedy_and_named_at_the_worker(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    broken = await start_worker(cluster, breaks=1)
    named = {"X-Request-ID": "the-request"}
    await cluster.http.post("/v1/chat/completions", json=chat(stream=True), headers=named)
    snapshot = await snapshot_of(cluster)
    (failure,) = snapshot.failures
    assert (failure.count, failure.fault) == (1, "server")
    assert failure.remedy.startswith("Try again")
    (of_worker,) = snapshot.workers[0].failures
    assert (of_worker.code, of_worker.request_id) == ("worker_unreachable", "the-request")
    assert snapshot.workers[0].address == broken.address


async def test_a_worker_whose_request_another_one_answered_is_blamed_all_the_same(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    broken = await start_worker(cluster, breaks=1)
    well = await start_worker(cluster)
    while broken.breaks:  # either may be asked
        await cluster.http.post("/v1/chat/completions", json=chat(stream=True))
    snapshot = await snapshot_of(cluster)
    assert snapshot.failures == []
    blamed = {one.address: [each.code for each in one.failures] for one in snapshot.workers}
    assert blamed == {broken.address: ["worker_unreachable"], well.address: []}


async def test_a_worker_that_registers_anew_begins_its_curves_anew(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    await tell(cluster, worker, uptime_s=500, generated_tokens=900)
    await tell(cluster, worker, uptime_s=1, generated_tokens=7)
    assert (await snapshot_of(cluster)).workers[0].tokens_per_s == [None]
    await register(cluster, worker)
    assert (await snapshot_of(cluster)).workers[0].vitals is None


def test_the_sum_of_rates_is_of_workers_that_are_heard() -> None:
    now = 0.0

    def clock() -> float:
        return now

    workers = Registry(shortest_queue)
    vitals, line = VitalsHistory(workers), Line(workers, LineLimits(), 1, clock)
    snapshots = Snapshots(workers, line, vitals, FailureLog(clock), clock)
    for n in range(3):
        workers.register(f"http://w:{n}", status_of("m", f"id-{n}"), now=0.0, expires=True)
        for told_s in (1, 2):
            sums = Vitals(version="1", uptime_s=told_s, generated_tokens=10 * told_s)
            vitals.add(f"http://w:{n}", sums, now=told_s)
    assert snapshots.take().tokens_per_s == 30
    workers.set_draining("http://w:0", True)
    refused = workers.get("http://w:1")
    assert refused is not None
    workers.mark_unreachable(refused)
    assert snapshots.take().tokens_per_s == 20
    now = 1e6
    assert snapshots.take().tokens_per_s == 0


async def test_vitals_that_cannot_be_are_refused(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker = await start_worker(cluster)
    body = {"worker_name": worker.address, "queue_length": 0}
    for vitals in ({"version": "x" * 61, "uptime_s": 1}, {"version": "1", "uptime_s": -1}):
        answer = await cluster.http.post(
            "/receive_heart_beat", json=body | {"vitals": vitals}, headers=BEARER
        )
        assert answer.status_code == 400


@pytest.fixture
def crowd() -> Registry:
    """A thousand workers, of which one is blind and one drains."""
    workers = Registry(shortest_queue)
    for n in range(1000):
        model = f"model-{n % 3}"
        workers.register(f"http://w:{n}", status_of(model, f"id-{n}"), now=0.0, expires=False)
    blind = workers.get("http://w:998")
    assert blind is not None and workers.judge(blind, Sight(False, "it is blind"))
    workers.set_draining("http://w:999", True)
    return workers


async def test_of_a_thousand_workers_those_come_that_are_asked_for_trouble_first(
    crowd: Registry,
) -> None:
    transport = httpx.ASGITransport(build_app(crowd, AdmissionPolicy(TOKEN)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:

        async def ask(**asked: Any) -> tuple[int, list[WorkerSnapshot]]:
            answer = await http.get("/admin/cluster", params=asked, headers=BEARER)
            snapshot = ClusterSnapshot.model_validate_json(answer.content)
            assert snapshot.states == {"alive": 999, "drained": 1}
            return snapshot.matching, snapshot.workers

        matching, workers = await ask()
        assert (matching, len(workers)) == (1000, 100)
        assert {one.id for one in workers[:2]} == {"id-998", "id-999"}
        matching, workers = await ask(search="MODEL-1", count=5)
        assert (matching, len(workers)) == (333, 5)
        matching, workers = await ask(search="w:77", count=0)
        assert (matching, workers) == (11, [])
        assert (await http.get("/admin/cluster?count=9999", headers=BEARER)).status_code == 400
