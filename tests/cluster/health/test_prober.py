"""A worker that broke a connection is asked for its status until it answers or its lease ends."""

import asyncio
import time

import pytest

from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.upstream import Upstream, UpstreamLimits
from tests.cluster.conftest import (
    Cluster,
    EchoWorker,
    StartRawWorker,
    StartWorker,
    chat,
    status_of,
)

STREAM = chat(stream=True)


class Naps:
    """A clock that moves only by what is slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def probing(naps: Naps, address: str, worker_id: str = "id") -> Registry:
    workers = Registry(shortest_queue, expiry_s=45)
    workers.register(address, status_of(worker_id=worker_id), naps.now)
    return workers


async def until_probed() -> None:
    while probes := [task for task in asyncio.all_tasks() if task.get_name() == "probe-worker"]:
        await asyncio.wait(probes)


def only(workers: Registry) -> RegisteredWorker:
    (worker,) = workers.known()
    return worker


async def test_a_living_worker_whose_connection_broke_once_is_back_within_a_second(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    worker: EchoWorker = await start_worker(cluster, breaks=1)
    broken = await cluster.http.post("/v1/chat/completions", json=STREAM)
    assert broken.json()["error"]["code"] == "worker_unreachable"
    begun = time.monotonic()
    await until_probed()
    assert cluster.workers.alive(time.monotonic())
    assert time.monotonic() - begun < 1
    answer = await cluster.http.post("/v1/chat/completions", json=STREAM)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert len(worker.seen) == 2


async def test_a_dead_worker_is_asked_less_and_less_until_its_lease_ends(
    unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    naps, upstream = Naps(), Upstream(UpstreamLimits())
    workers = probing(naps, f"http://127.0.0.1:{unused_tcp_port}")
    prober = Prober(workers, upstream, lambda: naps.now, naps.sleep)
    async with upstream.opened(), prober.tasks:
        prober.mark_unreachable(only(workers))
        await until_probed()
    assert naps.naps == [0.5, 1, 2, 4, 8, 15, 15]
    assert not only(workers).is_reachable
    assert caplog.text.count("the worker does not answer") == 1


async def test_a_worker_that_answers_probes_only_is_asked_later_each_time(
    start_worker: StartWorker,
) -> None:
    naps, upstream = Naps(), Upstream(UpstreamLimits())
    worker = await start_worker()
    workers = probing(naps, worker.address, worker.worker_id)
    prober = Prober(workers, upstream, lambda: naps.now, naps.sleep)
    async with upstream.opened(), prober.tasks:
        for _ in range(4):
            prober.mark_unreachable(only(workers))
            await until_probed()
            assert only(workers).is_reachable
        naps.now += 60
        prober.mark_unreachable(only(workers))
        await until_probed()
    assert naps.naps == [0.5, 1, 2]


@pytest.mark.parametrize("event", ["heartbeat", "deregister"])
async def test_a_heartbeat_or_a_goodbye_ends_the_probes(event: str, unused_tcp_port: int) -> None:
    naps, upstream = Naps(), Upstream(UpstreamLimits())
    workers = probing(naps, f"http://127.0.0.1:{unused_tcp_port}")
    worker = only(workers)

    async def sleep(seconds: float) -> None:
        await naps.sleep(seconds)
        if len(naps.naps) < 2:
            return
        if event == "heartbeat":
            workers.heartbeat(worker.address, 0, naps.now)
        else:
            workers.deregister(worker.address)

    prober = Prober(workers, upstream, lambda: naps.now, sleep)
    async with upstream.opened(), prober.tasks:
        prober.mark_unreachable(worker)
        await until_probed()
    assert naps.naps == [0.5, 1]


async def test_a_worker_that_fails_again_while_it_is_probed_is_probed_on(
    start_worker: StartWorker,
) -> None:
    naps, upstream = Naps(), Upstream(UpstreamLimits())
    worker = await start_worker()
    workers = probing(naps, worker.address, worker.worker_id)

    async def sleep(seconds: float) -> None:
        await naps.sleep(seconds)
        if len(naps.naps) == 1:  # a heartbeat was faster, and the trial failed
            workers.heartbeat(worker.address, 0, naps.now)
            prober.mark_unreachable(only(workers))

    prober = Prober(workers, upstream, lambda: naps.now, sleep)
    async with upstream.opened(), prober.tasks:
        for _ in range(2):
            prober.mark_unreachable(only(workers))
            await until_probed()
    assert only(workers).is_reachable


async def test_llava_s_own_worker_is_not_told_the_token(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    worker = await start_raw_worker(b"")
    naps, upstream = Naps(), Upstream(UpstreamLimits(), token="the-token")
    workers = Registry(shortest_queue)
    entry = workers.register(worker.address, status_of(), naps.now, is_legacy=True)
    prober = Prober(workers, upstream, lambda: naps.now)
    async with upstream.opened(), prober.tasks:
        prober.ask_soon(entry)
        await worker.asked.wait()
    assert b"the-token" not in worker.head


async def test_a_status_without_end_is_no_status(
    cluster: Cluster, start_raw_worker: StartRawWorker
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    worker = await start_raw_worker(head + b" " * 2_000_000, then_silent=True)
    cluster.workers.register(worker.address, status_of(), time.monotonic())
    begun = time.monotonic()
    await cluster.http.post("/refresh_all_workers")
    assert time.monotonic() - begun < UpstreamLimits().status_s
    assert not only(cluster.workers).is_reachable


async def test_a_process_that_took_the_place_of_a_probed_one_is_probed_itself(
    unused_tcp_port: int,
) -> None:
    address = f"http://127.0.0.1:{unused_tcp_port}"
    naps, asleep = Naps(), asyncio.Event()

    async def sleep(_: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    workers = probing(naps, address, "before")
    upstream = Upstream(UpstreamLimits())
    prober = Prober(workers, upstream, lambda: naps.now, sleep)
    async with upstream.opened(), prober.tasks:
        prober.mark_unreachable(only(workers))
        await asyncio.wait_for(asleep.wait(), 10)
        workers.register(address, status_of(worker_id="after"), naps.now)
        asleep.clear()
        prober.mark_unreachable(only(workers))
        await asyncio.wait_for(asleep.wait(), 10)
