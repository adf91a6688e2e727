"""Each worker is asked about drawn pictures; a blind one gets none of a user's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import Response
from PIL import Image
from prometheus_client import CollectorRegistry, Counter

from llava_serve.cluster.health.canary import CHECK_WITHIN_S, Canary
from llava_serve.cluster.health.canary_check import CanaryCheck
from llava_serve.cluster.registry.dispatch import DispatchRequest, shortest_queue
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.upstream import Upstream, UpstreamLimits
from llava_serve.errors import OnlyBlindWorkers, WorkerUnchecked
from llava_serve.http.serving import served
from tests.cluster.conftest import TOKEN, Stack, status_of
from tests.cluster.sighted import Answer, SightedWorker, fails, is_blind, is_busy, looks, refuses

EVERY_S = 600.0
PICTURE = DispatchRequest(model="m", has_images=True)
TEXT = DispatchRequest(model="m")


class Timer:
    """A clock that moves only when a test lets a sleep end."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []
        self._asleep, self._may_wake = asyncio.Event(), asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if not seconds:
            return
        self.naps.append(seconds)
        self._asleep.set()
        await self._may_wake.wait()
        self._may_wake.clear()
        self.now += seconds

    async def until_asleep(self) -> None:
        await asyncio.wait_for(self._asleep.wait(), 20)

    async def end_of_nap(self) -> None:
        """Let the sleep end, and wait for the next one."""
        self._asleep.clear()
        self._may_wake.set()
        await self.until_asleep()


class Watched:
    """A registry, its canary, and one worker that has joined."""

    def __init__(self, worker: SightedWorker, every_s: float = EVERY_S, **options: Any) -> None:
        self.worker = worker
        self.timer = Timer()
        within_s = CHECK_WITHIN_S if every_s else 0.0
        self.workers = Registry(shortest_queue, check_within_s=within_s, **options)
        self.upstream = Upstream(UpstreamLimits())
        self.checks = Counter("checks", "By outcome.", ["outcome"], registry=CollectorRegistry())
        self.canary = Canary(
            self.workers,
            CanaryCheck(self.upstream, TOKEN),
            self.checks,
            every_s,
            lambda: self.timer.now,
            self.timer.sleep,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Watched"]:
        async with self.upstream.opened(), self.canary.tasks:
            self.join()
            yield self

    def join(self) -> None:
        worker = self.worker
        self.canary.watch(self.workers.register(worker.address, worker.status, self.timer.now))

    @property
    def entry(self) -> RegisteredWorker:
        (worker,) = self.workers.known()
        return worker

    def takes(self, request: DispatchRequest) -> bool:
        self.workers.heartbeat(self.worker.address, self.worker.queue_length, self.timer.now)
        with self.workers.dispatch(request, self.timer.now):
            return True


Watch = Callable[..., Awaitable[Watched]]


@pytest.fixture
def watch(stack: Stack) -> Watch:
    async def start(answer: Answer = looks, **options: Any) -> Watched:
        names = ("engine", "accepts_images", "queue_length")
        own = {name: options.pop(name) for name in names if name in options}
        worker = SightedWorker(answer, **own)
        worker.address = await stack.enter(served(worker.app()))
        return await stack.enter(Watched(worker, **options).running())

    return start


async def test_a_worker_that_sees_is_asked_when_it_joins_and_again_and_again(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    assert one.entry.sees is True
    assert one.worker.canaries == 3
    assert one.takes(PICTURE)
    await one.timer.end_of_nap()
    assert one.worker.canaries == 6
    assert one.timer.naps == [EVERY_S, EVERY_S]


async def test_a_check_is_small_greedy_and_of_the_cluster(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    for body, headers in one.worker.questions:
        assert (body["temperature"], body["max_tokens"]) == (0, 8)
        assert headers["authorization"] == f"Bearer {TOKEN}"
    images = [
        body["messages"][0]["content"][0]["image_url"]["url"] for body, _ in one.worker.questions
    ]
    assert images[0] == images[2] != images[1]


async def test_no_two_checks_show_the_same_pictures(watch: Watch) -> None:
    one = await watch(is_blind)
    await one.timer.until_asleep()
    await one.timer.end_of_nap()
    shown = [
        body["messages"][0]["content"][0]["image_url"]["url"] for body, _ in one.worker.questions
    ]
    assert len(shown) == 12
    assert len(set(shown)) == 8


async def test_a_blind_worker_gets_text_and_no_pictures(watch: Watch) -> None:
    one = await watch(is_blind)
    await one.timer.until_asleep()
    assert one.entry.sees is False
    assert one.worker.canaries == 6
    assert "'nothing'" in one.entry.why
    assert one.takes(TEXT)
    with pytest.raises(OnlyBlindWorkers, match="whatever the pictures show"):
        one.takes(PICTURE)


async def test_serve_blind_lets_pictures_through(watch: Watch) -> None:
    one = await watch(is_blind, serve_blind=True)
    assert one.takes(PICTURE)
    await one.timer.until_asleep()
    assert one.entry.sees is False
    assert one.takes(PICTURE)


async def test_a_worker_that_fails_at_pictures_is_blind(watch: Watch) -> None:
    one = await watch(fails)
    await one.timer.until_asleep()
    assert one.entry.sees is False
    assert one.entry.why == "it fails at pictures: the model computed no number"


async def test_a_worker_that_cannot_take_the_question_is_not_judged_and_served(
    watch: Watch,
) -> None:
    one = await watch(refuses)
    await one.timer.until_asleep()
    assert one.entry.sees is None
    assert one.entry.why == "it does not take the question: too long"
    assert one.takes(PICTURE)


async def test_pictures_wait_for_the_first_check_so_long_at_most(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await watch(is_busy)
    await one.timer.until_asleep()
    with pytest.raises(WorkerUnchecked):
        one.takes(PICTURE)
    assert one.takes(TEXT)
    while one.timer.now < CHECK_WITHIN_S:
        await one.timer.end_of_nap()
    assert one.entry.sees is None
    assert one.takes(PICTURE)
    assert caplog.text.count("it gets pictures unchecked") == 1
    assert set(one.timer.naps[:-1]) == {2.0}


async def test_a_busy_worker_is_asked_when_it_is_idle(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    with one.workers.dispatch(TEXT, one.timer.now):
        await one.timer.end_of_nap()
        assert one.worker.canaries == 3
    await one.timer.end_of_nap()
    assert one.worker.canaries == 6
    assert one.timer.naps == [EVERY_S, 10, EVERY_S]


async def test_a_worker_that_joins_is_asked_even_when_it_is_busy(watch: Watch) -> None:
    one = await watch(queue_length=5)
    await one.timer.until_asleep()
    assert one.entry.sees is True


async def test_a_restarted_worker_is_asked_before_it_gets_a_picture(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    one.worker.worker_id, one.worker.answer = "another", is_blind
    one.join()
    with pytest.raises(WorkerUnchecked):
        one.takes(PICTURE)
    await one.canary.next_verdict(20)
    assert one.entry.sees is False


async def test_a_worker_that_only_registers_again_is_not_asked_again(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    one.join()
    assert one.takes(PICTURE)
    await one.timer.end_of_nap()
    assert one.timer.naps == [EVERY_S, EVERY_S]
    assert one.worker.canaries == 6


async def test_a_worker_that_is_heard_of_in_its_first_check_is_asked_once(watch: Watch) -> None:
    one = await watch()
    one.canary.watch(one.entry)
    one.canary.watch(one.entry)
    await one.timer.until_asleep()
    assert one.worker.canaries == 3


async def test_a_worker_that_left_and_joins_again_is_asked_again(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    one.workers.deregister(one.worker.address)
    one.timer.now += 1
    one.join()
    await one.canary.next_verdict(20)
    assert one.entry.sees is True
    assert one.worker.canaries == 6


async def test_a_worker_with_another_model_is_asked_again(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    one.worker.model = "another"
    one.join()
    assert one.entry.sees is None
    await one.canary.next_verdict(20)
    assert one.entry.sees is True


async def test_a_blind_worker_is_believed_once_it_has_seen_twice_in_a_row(watch: Watch) -> None:
    one = await watch(is_blind)
    await one.timer.until_asleep()
    found = []
    for answer in (looks, is_blind, looks, looks, is_blind):
        one.worker.answer = answer
        await one.timer.end_of_nap()
        found.append(one.entry.sees)
    assert found == [False, False, False, True, False]
    assert one.timer.naps == [60, 10, 60, 10, EVERY_S, 60]


@pytest.mark.parametrize("fields", [{"engine": "echo"}, {"accepts_images": False}, {"every_s": 0}])
async def test_who_cannot_see_is_not_asked_and_not_held_back(
    watch: Watch, fields: dict[str, Any]
) -> None:
    one = await watch(**fields)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "canary"]
    assert one.entry.sees is None
    assert one.takes(PICTURE)


async def test_llavas_own_worker_is_not_asked_and_not_held_back() -> None:
    workers = Registry(shortest_queue, check_within_s=60)
    worker = workers.register("http://w", status_of("m", None), 0, is_legacy=True)
    assert worker.canary_model is None
    with workers.dispatch(DispatchRequest(model="m", native=False, has_images=True), 0):
        pass


async def test_a_worker_that_left_is_asked_no_more(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "canary")
    one.workers.deregister(one.worker.address)
    one.timer._may_wake.set()
    await asyncio.wait_for(task, 20)
    assert one.worker.canaries == 3


async def test_nothing_is_kept_of_workers_that_left(watch: Watch, unused_tcp_port: int) -> None:
    one = await watch()
    await one.timer.until_asleep()
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "canary")
    one.workers.deregister(one.worker.address)
    one.timer._may_wake.set()
    await asyncio.wait_for(task, 20)
    one.worker = SightedWorker(address=f"http://127.0.0.1:{unused_tcp_port}")
    one.join()
    assert list(one.canary._watched) == [one.worker.address]


async def test_a_check_counts_against_its_worker_while_it_runs(watch: Watch) -> None:
    one = await watch()
    await one.timer.until_asleep()
    loads = []

    def counted(image: Image.Image) -> Response:
        loads.append(one.entry.in_flight)
        return looks(image)

    one.worker.answer = counted
    await one.timer.end_of_nap()
    assert loads == [1, 1, 1]
    assert one.entry.in_flight == 0
    assert one.checks.labels("sees")._value.get() == 2


async def test_a_sighted_worker_goes_before_a_blind_one_where_an_address_is_looked_up(
    watch: Watch,
) -> None:
    one = await watch(is_blind)
    await one.timer.until_asleep()
    assert one.workers.address_of("m", 0) == one.worker.address
    one.workers.register("http://other", one.worker.status, 0)
    assert {one.workers.address_of("m", 0) for _ in range(4)} == {"http://other"}
