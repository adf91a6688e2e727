"""Who waits, who has the next turn, and how long: slots are held by hand and time is set."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from llava_serve.cluster.registry.dispatch import DispatchRequest, shortest_queue
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.registry.sight import Sight
from llava_serve.cluster.waiting.line import Line, LineLimits
from llava_serve.cluster.waiting.model_line import LineRequest
from llava_serve.errors import LineFull, LineTimeout, NoWorker, OnlyBlindWorkers, OwnLineFull
from llava_serve.protocol.line_place import LinePlace
from tests.cluster.conftest import status_of
from tests.until import bounded

A, B = "http://a:1", "http://b:1"
SECOND = 0.001  # of real time, where a test lets it pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Requests:
    """Requests on their way through a line; each holds its slot until `end`."""

    def __init__(self, **limits: float) -> None:
        self.clock = Clock()
        self.workers = Registry(shortest_queue, expiry_s=45)
        self.asked: list[str] = []
        self.line = Line(
            self.workers,
            LineLimits(**{"tell_s": 1000, **limits}),  # type: ignore[arg-type]
            1_000_000,
            self.clock,
            lambda worker: self.asked.append(worker.address),
        )
        self.running: dict[str, RegisteredWorker] = {}
        self.order: list[str] = []
        self.told: dict[str, LinePlace] = {}
        self._was_told: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def admit(
        self,
        address: str = A,
        queue_length: int = 0,
        capacity: int | None = 1,
        engine: str = "echo",
    ) -> None:
        status = status_of(worker_id=address, queue_length=queue_length, capacity=capacity)
        cards = [card.model_copy(update={"engine": engine}) for card in status.cards]
        status = status.model_copy(update={"cards": cards})
        self.workers.register(address, status, self.clock())

    async def send(
        self,
        name: str,
        owner: str = "",
        cost: float = 1000,
        size: int = 1,
        answers: int = 1,
        has_images: bool = False,
        is_batch: bool = False,
    ) -> None:
        """Send one, and let it come as far as it comes."""

        async def tell(place: LinePlace) -> None:
            self.told[name] = place
            self._was_told[name].set()

        request = LineRequest(
            owner=owner or name, cost=cost, body_bytes=size, tell=tell, is_batch=is_batch
        )
        self._ends[name] = asyncio.Event()
        asked = DispatchRequest(model="echo", answers=answers, has_images=has_images)
        run = self._run(name, asked, request)
        self.tasks[name] = asyncio.create_task(run)
        await settled()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
        await settled()

    async def _run(self, name: str, asked: DispatchRequest, request: LineRequest) -> None:
        async with self.line.dispatch(asked, request) as worker:
            self.order.append(name)
            self.running[name] = worker
            try:
                await self._ends[name].wait()
            finally:
                del self.running[name]

    async def told_again(self, *names: str) -> None:
        for name in names:
            self._was_told[name].clear()
            async with bounded(f"word to {name}"):
                await self._was_told[name].wait()

    @contextmanager
    def taken_slot(self) -> Iterator[None]:
        """Hold a slot that comes back without a task's having to run."""
        with self.workers.dispatch(DispatchRequest(model="echo"), self.clock()):
            yield

    @property
    def waiting(self) -> int:
        return sum(self.line.lengths().values())

    def pass_time(self, seconds: float) -> None:
        """Let time pass for all that looks at the clock."""
        self.clock.now += seconds
        self.line.look()


async def settled() -> None:
    """Let every task come as far as it comes without time."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def requests(**limits: float) -> AsyncIterator[Requests]:
    one = Requests(**limits)
    try:
        yield one
    finally:
        for task in one.tasks.values():
            task.cancel()
        await asyncio.gather(*one.tasks.values(), return_exceptions=True)
        assert one.waiting == 0
        assert [worker.in_flight for worker in one.workers.known()] == [0] * len(
            one.workers.known()
        )


async def test_where_a_slot_is_free_nothing_waits() -> None:
    async with requests() as sent:
        sent.admit(A, capacity=2)
        await sent.send("a")
        await sent.send("b")
        assert (set(sent.running), sent.waiting) == ({"a", "b"}, 0)
        await sent.send("c")
        assert (set(sent.running), sent.waiting) == ({"a", "b"}, 1)
        await sent.end("a")
        assert (set(sent.running), sent.waiting) == ({"b", "c"}, 0)


async def test_a_worker_that_tells_no_capacity_always_has_room() -> None:
    async with requests() as sent:
        sent.admit(A, capacity=None)
        for at in range(20):
            await sent.send(f"{at}")
        assert (len(sent.running), sent.waiting) == (20, 0)


@pytest.mark.parametrize("cost", [1, 1000, 30_000])
async def test_a_thousand_requests_of_one_owner_do_not_delay_another_s_first(cost: float) -> None:
    async with requests(max_waiting=4000) as sent:
        sent.admit(A, capacity=2)
        for at in range(1000):
            await sent.send(f"many {at}", "many", cost=200)
        await sent.send("first", "other", cost=cost)
        assert "first" not in sent.running
        await sent.end(next(iter(sent.running)))  # one slot's time
        assert "first" in sent.running


async def test_a_slot_is_counted_before_anybody_else_looks() -> None:
    async with requests() as sent:
        sent.admit()
        with sent.taken_slot():
            for name in "ab":
                await sent.send(name, "one")
        assert [worker.in_flight for worker in sent.workers.known()] == [1]
        assert (sent.order, sent.waiting) == ([], 1)  # the slot is given on, and not yet taken up
        await sent.send("c", "one")
        for name in "abc":
            await sent.end(name)
        assert sent.order == ["a", "b", "c"]


async def test_a_worker_that_joins_and_a_heartbeat_give_turns() -> None:
    async with requests() as sent:
        sent.admit(A, queue_length=1)
        await sent.send("a")
        await sent.send("b")
        assert sent.running == {}
        sent.admit(B)
        await settled()
        assert [worker.address for worker in sent.running.values()] == [B]
        sent.workers.heartbeat(A, queue_length=0, now=0)
        await settled()
        assert {worker.address for worker in sent.running.values()} == {A, B}


async def test_a_request_for_many_answers_waits_for_as_many_slots_of_one_worker() -> None:
    async with requests() as sent:
        sent.admit(A, capacity=3)
        await sent.send("a")
        await sent.send("three", answers=3)
        assert (set(sent.running), sent.waiting) == ({"a"}, 1)
        await sent.end("a")
        assert set(sent.running) == {"three"}
        await sent.end("three")
        await sent.send("many", answers=16)  # more than there are: it has to make do with all
        assert set(sent.running) == {"many"}


async def test_a_worker_with_room_is_chosen_whatever_the_loads_say() -> None:
    async with requests() as sent:
        sent.workers.register(A, status_of(worker_id="a", capacity=1, speed=100), 0)
        sent.workers.register(B, status_of(worker_id="b", capacity=9, speed=1), 0)
        for name in "abc":
            await sent.send(name)
        assert [sent.running[name].address for name in "abc"] == [A, B, B]


async def test_who_leaves_frees_its_place_at_once() -> None:
    async with requests() as sent:
        sent.admit()
        for name in "abc":
            await sent.send(name, "one")
        sent.tasks["b"].cancel()
        await settled()
        assert sent.waiting == 1
        await sent.end("a")
        assert set(sent.running) == {"c"}


async def test_a_turn_of_who_leaves_as_it_comes_goes_to_the_next() -> None:
    async with requests() as sent:
        sent.admit()
        with sent.taken_slot():
            for name in "ab":
                await sent.send(name, "one")
        sent.tasks["a"].cancel()
        await settled()
        assert sent.order == ["b"]


async def test_whoever_has_half_the_line_waits_elsewhere_and_others_may_come() -> None:
    async with requests(max_waiting=4) as sent:
        sent.admit()
        for name in "abc":
            await sent.send(name, "one")
        await sent.send("d", "one")
        with pytest.raises(OwnLineFull, match="2 of the 2 that are waiting for this model") as full:
            await sent.tasks["d"]
        assert full.value.headers["Retry-After"] == "1"
        for name in "ef":
            await sent.send(name)
        await sent.send("g")
        with pytest.raises(LineFull, match=r"full: 4 are waiting for this model$"):
            await sent.tasks["g"]


async def test_bodies_that_wait_are_bounded_together() -> None:
    async with requests() as sent:
        sent.admit()
        await sent.send("a", size=2_000_000)  # it does not wait
        await sent.send("b", "one", size=500_000)
        await sent.send("c", "one", size=1)
        with pytest.raises(OwnLineFull):
            await sent.tasks["c"]
        await sent.send("d", size=500_000)
        await sent.send("e", size=1)
        with pytest.raises(LineFull):
            await sent.tasks["e"]
        await sent.end("a")
        await sent.send("f", size=500_000)
        assert sent.waiting == 2


async def test_who_waits_too_long_is_told_how_many_wait() -> None:
    async with requests(max_wait_s=30, tell_s=SECOND) as sent:
        sent.admit()
        await sent.send("a")
        await sent.send("b")
        sent.clock.now = 30
        with pytest.raises(LineTimeout, match="within 30 s: 1 are waiting for this model"):
            await sent.tasks["b"]
        assert sent.waiting == 0


async def test_an_estimate_is_made_of_measured_times_only() -> None:
    async with requests(max_waiting=2, tell_s=SECOND) as sent:
        sent.admit(A, capacity=2)
        for name in "abcde":
            await sent.send(name)
            sent.clock.now += 8
            await sent.end(name)
        for name in "fghi":
            await sent.send(name)
        await sent.told_again("h", "i")
        assert {sent.told[name] for name in "hi"} == {LinePlace(1, 2, 4), LinePlace(2, 2, 8)}
        await sent.send("k")
        with pytest.raises(LineFull, match="waiting for this model, the last for about 12 s more"):
            await sent.tasks["k"]
        sent.clock.now += 17  # more than twice as long as slots were held: it holds no more
        await sent.told_again("h")
        assert sent.told["h"].wait_s is None


async def test_answers_of_very_different_length_give_no_estimate() -> None:
    async with requests(tell_s=SECOND) as sent:
        sent.admit()
        for name, took_s in zip("abcdef", (1, 1, 1, 1, 1, 20), strict=True):
            await sent.send(name)
            sent.clock.now += took_s
            await sent.end(name)
        for name in "gh":
            await sent.send(name)
        await sent.told_again("h")
        assert sent.told["h"] == LinePlace(1, 1)


async def test_counts_of_others_are_asked_for_and_then_not_waited_for() -> None:
    async with requests() as sent:
        sent.admit(A, queue_length=2, capacity=2)
        for name in "abc":
            await sent.send(name)
        assert sent.running == {}
        sent.pass_time(0.5)
        await settled()
        assert (sent.running, sent.asked) == ({}, [A])
        sent.pass_time(0.6)
        await settled()
        assert len(sent.running) == 1  # in the worker's own queue
        sent.pass_time(1.1)
        await settled()
        assert len(sent.running) == 2
        sent.pass_time(99 - sent.clock.now % 1)
        await settled()
        assert len(sent.running) == 2  # as many as it has slots; their end will tell


async def test_while_all_workers_are_away_the_line_waits_for_their_return() -> None:
    async with requests() as sent:
        sent.admit()
        await sent.send("a")
        await sent.send("b")
        sent.workers.mark_unreachable(sent.running["a"])
        sent.pass_time(5)
        await settled()
        assert sent.waiting == 1
        await sent.end("a")
        sent.workers.heartbeat(A, queue_length=0, now=sent.clock())
        await settled()
        assert "b" in sent.running


async def test_a_line_that_nobody_serves_any_more_is_told_so() -> None:
    async with requests() as sent:
        sent.admit()
        await sent.send("a")
        await sent.send("b")
        sent.workers.deregister(A)
        sent.pass_time(9)
        await settled()
        assert not sent.tasks["b"].done()
        sent.pass_time(9)
        with pytest.raises(NoWorker):
            await sent.tasks["b"]


async def test_who_waits_behind_a_picture_that_nobody_sees_waits_on_for_a_slot() -> None:
    async with requests() as sent:
        sent.admit(A)
        sent.admit(B)
        for name in ("a", "b"):
            await sent.send(name)
        await sent.send("picture", has_images=True)
        for name in ("text", "further text"):
            await sent.send(name)
        for worker in sent.workers.known():
            sent.workers.judge(worker, Sight(False, "blind"))
        sent.pass_time(9)
        sent.pass_time(9)
        with pytest.raises(OnlyBlindWorkers):
            await sent.tasks["picture"]
        await settled()
        assert (set(sent.running), sent.waiting) == ({"a", "b"}, 2)
        await sent.end("a")
        assert "text" in sent.running


async def test_text_goes_past_a_picture_that_waits_for_a_worker_that_sees() -> None:
    async with requests() as sent:
        sent.admit(A)
        sent.admit(B)
        sent.workers.judge(sent.workers.known()[1], Sight(False, "blind"))
        for name in ("picture", "second picture", "third picture"):
            await sent.send(name, "one", has_images=True)
        for name in ("text", "second text"):
            await sent.send(name, "one")
        assert {name: worker.address for name, worker in sent.running.items()} == {
            "picture": A,
            "text": B,
        }
        await sent.end("text")
        assert "second text" in sent.running
        await sent.send("third text", "one")
        await sent.end("picture")  # its slot is no text's: a picture came before
        assert set(sent.running) == {"second text", "second picture"}


async def test_nobody_takes_a_slot_from_a_request_that_waits_for_several() -> None:
    async with requests() as sent:
        sent.admit(A, capacity=2)
        await sent.send("a")
        await sent.send("two", answers=2)
        await sent.send("picture", has_images=True)
        assert set(sent.running) == {"a"}
        await sent.end("a")
        assert set(sent.running) == {"two"}


async def test_a_slot_of_a_worker_that_is_tried_gives_nobody_a_turn_at_a_full_one() -> None:
    async with requests() as sent:
        sent.admit(A, capacity=2)
        sent.admit(B)
        with sent.workers.dispatch(DispatchRequest(model="echo", excluding=[A]), 0):  # fills B
            sent.workers.record_failure(sent.workers.known()[0], sent.clock())
            sent.workers.heartbeat(A, queue_length=0, now=sent.clock())
            for name in ("trial", "next"):
                await sent.send(name)
            assert (set(sent.running), sent.waiting) == ({"trial"}, 1)
            await sent.end("trial")  # as when its client leaves: the next one tries the worker
            assert sent.running["next"].address == A


async def test_whose_worker_was_lost_comes_before_all_others() -> None:
    async with requests() as sent:
        sent.admit()
        for name in "ab":
            await sent.send(name)

        async def tell(place: LinePlace) -> None: ...

        lost = LineRequest(owner="lost", cost=1, body_bytes=1, tell=tell, had_turn=True)
        sent._ends["lost"] = asyncio.Event()
        run = sent._run("lost", DispatchRequest(model="echo"), lost)
        sent.tasks["lost"] = asyncio.create_task(run)
        await settled()
        await sent.end("a")
        assert set(sent.running) == {"lost"}


async def test_a_worker_that_said_it_is_busy_gets_nothing_until_it_is_heard_of() -> None:
    async with requests() as sent:
        sent.admit(A, capacity=5)
        sent.workers.mark_busy(sent.workers.known()[0])
        await sent.send("a")
        assert sent.running == {}
        sent.workers.heartbeat(A, queue_length=0, now=0)
        await settled()
        assert set(sent.running) == {"a"}


async def test_a_model_that_nobody_serves_has_no_line() -> None:
    async with requests() as sent:
        await sent.send("a")
        with pytest.raises(NoWorker):
            await sent.tasks["a"]
        assert sent.line.lengths() == {}
