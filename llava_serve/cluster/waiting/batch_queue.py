"""Batch queue: requests that nobody waits for, which get what slots all others leave.

They are given a slot where nobody else waits for the model, and never the last quarter of a
worker's: who comes next finds one. A worker whose engine lets the answers of batches stand back by
itself makes them beside others; every other one only while it makes no other answers, nor made any
just now. Where somebody else has to wait all the same, what a batch began last is taken back.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from llava_serve.cluster.registry.dispatch import DispatchRequest
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.waiting.fair_queue import FairQueue, Ticket
from llava_serve.errors import ServeError, TurnTakenBack

_LEFT_FREE = 4  # a slot of so many, and one at least
_QUIET_S = 0.5  # behind the last answer of others: who asks one thing after the other is not over
_LOOK_S = 0.25  # for what happens without an event: time that passes, and workers that left


@dataclass(eq=False, slots=True)
class _BatchWaiter:
    """One that waits; its turn is a worker, counted in the registry until the stack is closed."""

    asked: DispatchRequest
    turn: asyncio.Future[tuple[ExitStack, RegisteredWorker]]


class BatchQueue:
    """The batches' requests of all models of one controller, in fair turns over who sent them."""

    def __init__(
        self,
        workers: Registry,
        clock: Callable[[], float],
        others_wait: Callable[[str], bool],
    ) -> None:
        """`others_wait` tells whether anybody else waits for a model."""
        self._workers = workers
        self._clock = clock
        self._others_wait = others_wait
        self._lines: dict[str, FairQueue[_BatchWaiter]] = {}  # of models that were asked for
        self._held: Counter[str] = Counter()  # slots, by the worker's address
        self._running: dict[str, list[asyncio.Timeout]] = {}  # turns, the oldest first
        self._others_ended: dict[str, float] = {}  # when the last answer of others did
        self._timer: asyncio.TimerHandle | None = None

    def lengths(self) -> dict[str, int]:
        """Return how many wait, by model."""
        return {model: len(line) for model, line in self._lines.items()}

    @asynccontextmanager
    async def dispatch(
        self, asked: DispatchRequest, owner: str, cost: float
    ) -> AsyncIterator[RegisteredWorker]:
        """Dispatch a request once there is a slot for it, however long that takes.

        Raises:
            NoWorker, ModelNotFound, InvalidField: there is nobody to wait for.
            TurnTakenBack: somebody else needs the slot, and the body is cancelled.
        """
        waiter = _BatchWaiter(asked, asyncio.get_running_loop().create_future())
        line = self._lines.setdefault(asked.model, FairQueue())
        ticket = line.push(owner, cost, waiter)
        self.give_turns()
        turn, worker = await self._turn_of(waiter, line, ticket)
        scope = asyncio.timeout(None)
        with turn, self._running_at(worker, scope):
            try:
                async with scope:
                    yield worker
            except TimeoutError as exc:
                if not scope.expired():
                    raise
                raise TurnTakenBack from exc

    def make_room(self, asked: DispatchRequest) -> None:
        """Take back as many of the last turns as somebody else, who has to wait, asks for."""
        left = asked.answers
        for worker in self._workers.candidates(asked, self._clock()):
            running = self._running.get(worker.address, [])
            for scope in reversed(running):
                if left and not scope.expired():
                    left -= 1
                    scope.reschedule(0)

    def note_end(self, worker: RegisteredWorker) -> None:
        """Remember that an answer of somebody else has ended there."""
        self._others_ended[worker.address] = self._clock()

    def give_turns(self) -> None:
        """Dispatch whoever finds a slot that is for batches."""
        for model, line in self._lines.items():
            while (ticket := line.peek()) is not None and not self._others_wait(model):
                asked = self._with_room(ticket.item.asked)
                if asked is None:
                    break
                line.take(ticket)
                self._give(ticket.item, asked)
        if self._timer is None and any(self._lines.values()):
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        self.give_turns()

    async def _turn_of(
        self, waiter: _BatchWaiter, line: FairQueue[_BatchWaiter], ticket: Ticket[_BatchWaiter]
    ) -> tuple[ExitStack, RegisteredWorker]:
        try:
            await asyncio.wait({waiter.turn})  # which is not cancelled with its request
            return waiter.turn.result()
        except BaseException:
            line.remove(ticket)
            if waiter.turn.done() and not waiter.turn.exception():
                waiter.turn.result()[0].close()  # it was given up as its turn came
            raise

    def _give(self, waiter: _BatchWaiter, asked: DispatchRequest) -> None:
        with ExitStack() as held:
            try:
                worker = held.enter_context(self._workers.dispatch(asked, self._clock()))
            except ServeError as exc:
                waiter.turn.set_exception(exc)
            else:
                held.enter_context(self._holding(worker, asked.answers))
                waiter.turn.set_result((held.pop_all(), worker))

    @contextmanager
    def _running_at(self, worker: RegisteredWorker, scope: asyncio.Timeout) -> Iterator[None]:
        running = self._running.setdefault(worker.address, [])
        running.append(scope)
        try:
            yield
        finally:
            running.remove(scope)

    @contextmanager
    def _holding(self, worker: RegisteredWorker, answers: int) -> Iterator[None]:
        counted = worker.counted(answers)
        self._held[worker.address] += counted
        try:
            yield
        finally:
            self._held[worker.address] -= counted

    def _with_room(self, asked: DispatchRequest) -> DispatchRequest | None:
        """Return it with the workers excluded that have no slot for it; None: all of them.

        Where there are no workers nobody has to wait: dispatch says why.
        """
        workers = list(self._workers.candidates(asked, self._clock()))
        full = {one.address for one in workers if not self._has_room(one, asked.answers)}
        if workers and len(full) == len(workers):
            return None
        return replace(asked, excluding={*asked.excluding, *full})

    def _has_room(self, worker: RegisteredWorker, answers: int) -> bool:
        held = self._held[worker.address]
        if not (worker.batches_stand_back or self._is_quiet(worker, held)):
            return False
        if worker.status.capacity is None:
            return not held
        return worker.has_room(answers + max(worker.status.capacity // _LEFT_FREE, 1))

    def _is_quiet(self, worker: RegisteredWorker, held: int) -> bool:
        """Tell whether it makes no answers of others, nor did just now."""
        if worker.in_flight + worker.elsewhere > held:
            return False
        return self._clock() - self._others_ended.get(worker.address, -_QUIET_S) >= _QUIET_S
