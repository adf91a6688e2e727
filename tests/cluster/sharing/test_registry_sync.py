"""Controllers of one cluster know the same workers, and each works on without the others."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from llava_serve.cluster.admission import AdmissionPolicy
from llava_serve.cluster.app import ControllerSettings, build_app
from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.registry.dispatch import DispatchRequest, shortest_queue
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.sharing.registry_sync import RegistrySync
from llava_serve.cluster.sharing.shared_state import (
    MemoryState,
    SharedStateAway,
    StateExchange,
    StateRecord,
)
from llava_serve.cluster.upstream.upstream import Upstream, UpstreamLimits
from llava_serve.http.serving import served
from tests.cluster.conftest import TOKEN, StartWorker, status_of
from tests.until import until

W = "http://127.0.0.1:9"  # nobody listens there
ECHO = DispatchRequest(model="echo")


class HandClock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Controllers:
    """Controllers `a` and `b` of one cluster, which meet when the test says so."""

    def __init__(self, alive: AsyncExitStack) -> None:
        self._alive = alive
        self.clock = HandClock()
        self.state = MemoryState(self.clock)
        self.syncs: dict[str, RegistrySync] = {}
        self._resting: set[asyncio.Task[Any] | None] = set()

    async def start(self, name: str, **limits: float) -> Registry:
        workers = Registry(shortest_queue, expiry_s=45)
        upstream = Upstream(UpstreamLimits(**limits))
        prober = Prober(workers, upstream, self.clock, self._rest)
        await self._alive.enter_async_context(upstream.opened())
        await self._alive.enter_async_context(prober.tasks)
        self.syncs[name] = RegistrySync(workers, prober, self.state, name, self.clock)
        return workers

    async def _rest(self, seconds: float) -> None:
        """Wait as a probe does for its next turn."""
        task = asyncio.current_task()
        self._resting.add(task)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._resting.discard(task)

    def _asking(self) -> list[asyncio.Task[Any]]:
        """Return what waits for the answer of a worker."""
        names = ("ask-worker", "probe-worker")
        tasks = [task for task in asyncio.all_tasks() if task.get_name() in names]
        return [task for task in tasks if task not in self._resting]

    async def meet(self, *names: str, after_s: float = 0.25) -> None:
        """Let each exchange once, one after the other, and let what it asks for be answered."""
        for name in names or self.syncs:
            self.clock.now += after_s
            await self.syncs[name].turn()
            await until(lambda: not self._asking(), "the answers of workers")

    async def agree(self) -> None:
        """Meet until all has been told, and what was covered by older news once more."""
        for _ in range(4):
            await self.meet()


@pytest.fixture
async def controllers() -> AsyncIterator[Controllers]:
    async with AsyncExitStack() as alive:
        yield Controllers(alive)


@pytest.fixture
async def a(controllers: Controllers) -> Registry:
    return await controllers.start("a")


@pytest.fixture
async def b(controllers: Controllers, a: Registry) -> Registry:
    return await controllers.start("b")


def addresses(workers: Registry, now: float) -> list[str]:
    return [worker.address for worker in workers.alive(now)]


async def test_a_worker_that_joins_one_controller_is_served_by_the_other(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(queue_length=3), controllers.clock())
    await controllers.meet()
    with b.dispatch(ECHO, controllers.clock()) as worker:
        assert (worker.address, worker.queue_length) == (W, 4)  # with this one
    assert not worker.reports_here


async def test_a_worker_that_died_is_forgotten_where_none_registers(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    await controllers.agree()
    assert [worker.address for worker in b.known()] == [W]
    await controllers.meet(after_s=21 * a.expiry_s)
    await controllers.agree()
    assert (a.known(), b.known()) == ([], [])


async def test_many_workers_are_told_in_several_goes(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    for i in range(500):
        a.register(f"http://w{i}:1", status_of(worker_id=str(i)), controllers.clock())
    told = []
    for _ in range(4):
        await controllers.meet()
        told.append(len(b.known()))
    assert told == [200, 400, 500, 500]


async def test_a_controller_that_comes_later_knows_the_workers_at_once(
    controllers: Controllers, a: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    await controllers.meet()
    late = await controllers.start("late")
    await controllers.meet("late", after_s=10)
    (worker,) = late.known()
    assert controllers.clock() - worker.last_seen == pytest.approx(10.25)


async def test_a_heartbeat_at_one_controller_renews_the_lease_at_the_other(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    await controllers.meet()
    for _ in range(4):
        controllers.clock.now += 20
        a.heartbeat(W, 5, controllers.clock())
        await controllers.meet("a", "b")
        assert addresses(b, controllers.clock()) == [W]
    assert b.known()[0].queue_length == 5


async def test_a_worker_that_leaves_one_controller_leaves_the_other(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    await controllers.meet()
    assert addresses(b, controllers.clock()) == [W]
    a.deregister(W)
    await controllers.meet()
    assert b.known() == []


async def test_a_worker_that_came_back_is_not_taken_out_by_the_news_that_it_had_left(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    await controllers.meet()
    a.deregister(W)
    controllers.clock.now += 1
    b.register(W, status_of(worker_id="next"), controllers.clock())
    await controllers.meet("a", "b", "a")
    assert [w.known()[0].status.worker_id for w in (a, b)] == ["next", "next"]


async def test_of_two_processes_at_one_address_the_one_heard_of_last_counts(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(worker_id="old"), controllers.clock())
    controllers.clock.now += 1
    b.register(W, status_of(worker_id="new"), controllers.clock())
    await controllers.meet("b", "a", "b", "a")
    assert [w.known()[0].status.worker_id for w in (a, b)] == ["new", "new"]


async def test_answers_that_other_controllers_wait_for_are_load(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(queue_length=2), controllers.clock())
    with a.dispatch(ECHO, controllers.clock()), a.dispatch(ECHO, controllers.clock()):
        await controllers.meet("a", "b")
        (worker,) = b.known()
        assert (worker.elsewhere, worker.others) == (2, 2)
        b.heartbeat(W, 3, controllers.clock())  # 2 are a's
        assert b.known()[0].queue_length == 3
    await controllers.meet("a", "b")
    assert b.known()[0].elsewhere == 0


async def test_what_a_dead_controller_waited_for_counts_no_more(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    with a.dispatch(ECHO, controllers.clock()):
        await controllers.meet()
        assert b.known()[0].elsewhere == 1
        await controllers.meet("b", after_s=4)
        assert b.known()[0].elsewhere == 1
        await controllers.meet("b", after_s=2)
        assert b.known()[0].elsewhere == 0


async def test_a_worker_that_failed_elsewhere_is_asked_and_tried(
    controllers: Controllers, a: Registry, b: Registry, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    a.register(worker.address, worker.status, controllers.clock())
    await controllers.meet()
    a.record_failure(a.known()[0], controllers.clock())
    await controllers.meet("a", "b")
    assert worker.status_calls == 1
    assert b.known()[0].breaker.state.value == "half_open"
    assert addresses(b, controllers.clock()) == [worker.address]


async def test_a_worker_that_failed_elsewhere_and_is_silent_is_out(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    await controllers.meet()
    assert addresses(b, controllers.clock()) == [W]
    a.record_failure(a.known()[0], controllers.clock())
    await controllers.meet("a", "b")
    assert addresses(b, controllers.clock()) == []


async def test_who_cannot_reach_a_worker_does_not_take_it_from_others(
    controllers: Controllers, b: Registry, start_worker: StartWorker
) -> None:
    """And the two do not contradict each other for ever."""
    cut_off = await controllers.start("cut off", status_s=0)
    worker = await start_worker()
    b.register(worker.address, worker.status, controllers.clock())
    await controllers.agree()
    for _ in range(5):
        cut_off.record_failure(cut_off.known()[0], controllers.clock())
        await controllers.agree()
        assert addresses(b, controllers.clock()) == [worker.address]
        assert addresses(cut_off, controllers.clock()) == []
    asked = worker.status_calls
    await controllers.agree()
    assert worker.status_calls == asked


async def test_a_worker_found_dead_comes_back_when_another_controller_hears_of_it(
    controllers: Controllers, a: Registry, b: Registry, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    a.register(worker.address, worker.status, controllers.clock())
    await controllers.meet()
    b.mark_unreachable(b.known()[0])
    await controllers.meet("b")
    a.heartbeat(worker.address, 0, controllers.clock())
    await controllers.meet("a", "b")
    assert addresses(b, controllers.clock()) == [worker.address]


async def test_a_drain_is_known_to_all_until_it_is_taken_back(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    b.register(W, status_of(), controllers.clock())
    await controllers.meet("b", "a")
    a.set_draining(W, True)
    b.heartbeat(W, 0, controllers.clock())  # which knows nothing of it yet
    await controllers.agree()
    assert [w.known()[0].is_draining for w in (a, b)] == [True, True]
    b.register(W, status_of(), controllers.clock())  # the same process, once more
    await controllers.meet()
    assert [w.known()[0].is_draining for w in (a, b)] == [True, True]
    b.set_draining(W, False)
    await controllers.meet("b", "a")
    assert [w.known()[0].is_draining for w in (a, b)] == [False, False]


async def test_a_drain_that_a_late_heartbeat_has_covered_is_told_again(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    b.register(W, status_of(), controllers.clock())
    await controllers.meet("b", "a")
    a.set_draining(W, True)
    await controllers.meet("a")
    controllers.clock.now += 0.1
    b.heartbeat(W, 0, controllers.clock())
    await controllers.agree()
    assert [w.known()[0].is_draining for w in (a, b)] == [True, True]


async def test_a_drain_ends_with_the_process(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(worker_id="old"), controllers.clock())
    a.set_draining(W, True)
    await controllers.meet()
    controllers.clock.now += 1
    b.register(W, status_of(worker_id="new"), controllers.clock())
    await controllers.meet("b", "a", "b", "a")
    assert [w.known()[0].is_draining for w in (a, b)] == [False, False]


async def test_a_controller_that_meets_a_drained_worker_first_by_itself_does_not_undrain_it(
    controllers: Controllers, a: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    a.set_draining(W, True)
    await controllers.meet()
    b = await controllers.start("b")
    b.register(W, status_of(), controllers.clock())
    await controllers.agree()
    assert [w.known()[0].is_draining for w in (a, b)] == [True, True]


async def test_controllers_that_agree_write_nothing(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    a.set_draining(W, True)
    await controllers.meet()
    await controllers.meet()
    await controllers.meet()
    before = await controllers.state.exchange(StateRecord("reader", ""), (), 0)
    await controllers.meet("a", "b")
    after = await controllers.state.exchange(StateRecord("reader", ""), (), before.revision)
    assert {record.key for record in after.records} == {"controller a", "controller b"}


async def test_a_state_that_begins_anew_learns_everything_again(
    controllers: Controllers, a: Registry, b: Registry
) -> None:
    a.register(W, status_of(), controllers.clock())
    a.set_draining(W, True)
    b.register("http://127.0.0.1:10", status_of(worker_id="other"), controllers.clock())
    await controllers.meet()
    await controllers.meet()
    empty = MemoryState(controllers.clock)
    for sync in controllers.syncs.values():
        sync.state = empty
    controllers.state = empty
    await controllers.meet()
    await controllers.meet()
    late = await controllers.start("late")
    await controllers.meet("late")
    draining = {worker.address: worker.is_draining for worker in late.known()}
    assert draining == {W: True, "http://127.0.0.1:10": False}


async def test_a_worker_whose_controller_died_is_kept_by_asking_it(
    controllers: Controllers, a: Registry, b: Registry, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    a.register(worker.address, worker.status, controllers.clock())
    await controllers.meet()
    watched: list[RegisteredWorker] = []
    controllers.syncs["b"].watch = watched.append
    for _ in range(30):  # a is gone
        await controllers.meet("b", after_s=6)
        assert addresses(b, controllers.clock()) == [worker.address]
    assert {one.address for one in watched} == {worker.address}
    assert 5 <= worker.status_calls <= 10


async def test_a_silent_worker_that_reports_here_is_not_asked(
    controllers: Controllers, a: Registry, start_worker: StartWorker
) -> None:
    worker = await start_worker()
    a.register(worker.address, worker.status, controllers.clock())
    for _ in range(10):
        await controllers.meet("a", after_s=6)
    assert worker.status_calls == 0
    assert addresses(a, controllers.clock()) == []


@pytest.mark.parametrize("is_alone", [True, False])
async def test_a_controller_that_is_alone_exchanges_nothing(is_alone: bool) -> None:
    settings = ControllerSettings(state=None if is_alone else MemoryState())
    async with served(build_app(Registry(shortest_queue), AdmissionPolicy(TOKEN), settings)):
        names = {task.get_name() for task in asyncio.all_tasks()}
    assert ("registry-sync" not in names) is is_alone


class AwayState(MemoryState):
    """A shared state that can be out of reach."""

    is_away = True

    async def exchange(
        self, own: StateRecord, changed: Sequence[StateRecord], since: int
    ) -> StateExchange:
        if self.is_away:
            raise SharedStateAway("redis://nowhere: refused")
        return await super().exchange(own, changed, since)


async def test_without_the_state_each_works_on_and_what_happened_is_told_afterwards(
    controllers: Controllers, caplog: pytest.LogCaptureFixture
) -> None:
    controllers.state = state = AwayState(controllers.clock)
    a, b = await controllers.start("a"), await controllers.start("b")
    a.register(W, status_of(), controllers.clock())
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            await controllers.meet(after_s=0.5)
    assert [record.getMessage() for record in caplog.records] == 2 * [
        "working on without the other controllers, still trying: redis://nowhere: refused"
    ]
    assert addresses(a, controllers.clock()) == [W]
    assert b.known() == []
    state.is_away = False
    await controllers.meet()
    assert addresses(b, controllers.clock()) == [W]


async def test_without_the_state_workers_of_others_are_kept_by_asking_them(
    controllers: Controllers, start_worker: StartWorker
) -> None:
    controllers.state = state = AwayState(controllers.clock)
    state.is_away = False
    a, b = await controllers.start("a"), await controllers.start("b")
    worker = await start_worker()
    a.register(worker.address, worker.status, controllers.clock())
    await controllers.meet()
    state.is_away = True
    for _ in range(40):
        await controllers.meet("b", after_s=3)
        assert addresses(b, controllers.clock()) == [worker.address]


async def test_what_cannot_be_read_is_left_alone(
    controllers: Controllers, a: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    later = '{"version": 2, "address": "http://w:1", "status": {"model_names": ["echo"]}}'
    odd = '{"version": 1, "address": "http://w:1", "marks": {"is_draining": "perhaps"}, '
    odd += '"status": {"model_names": ["echo"]}}'
    written = [StateRecord(f"worker {i}", value) for i, value in enumerate((later, odd, "?"))]
    await controllers.state.exchange(StateRecord("other", ""), written, 0)
    with caplog.at_level(logging.WARNING):
        await controllers.meet("a")
    assert a.known() == []
    assert "cannot read what another controller wrote" in caplog.text


async def test_a_mark_of_a_later_version_is_left_out(controllers: Controllers, a: Registry) -> None:
    value = '{"version": 1, "address": "http://w:1", "status": {"model_names": ["echo"]}, '
    value += '"marks": {"is_draining": true, "is_blue": true}, "marks_age_s": 1}'
    await controllers.state.exchange(
        StateRecord("other", ""), [StateRecord("worker http://w:1", value)], 0
    )
    await controllers.meet("a")
    assert a.known()[0].is_draining
