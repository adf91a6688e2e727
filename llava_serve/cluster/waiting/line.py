"""Waiting line of the controller: a request is dispatched once a worker has a free slot for it.

Where a slot is free nothing waits. A turn is a dispatch: the slot is counted before anybody else
looks, so that nobody is woken for nothing.

What others sent to a worker is known from its status, which may be old. So workers that only others
have filled are asked for it, and where they stay full, one request at a time is given to their own
queues.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from llava_serve.cluster.registry.dispatch import DispatchRequest
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.waiting.batch_queue import BatchQueue
from llava_serve.cluster.waiting.model_line import LineRequest, ModelLine, Waiter
from llava_serve.errors import LineFull, LineTimeout, OwnLineFull, ServeError

_LOOK_S = 1.0  # for what happens without an event
_HAND_OVER_S = 1.0  # without a turn, where the slots are others'
_RETURN_S = 10.0  # for a worker to come back, where all have left
_RETRY_AFTER_S = (1, 60)  # least and most; OpenAI's clients heed no more than a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLimits:
    """How much may wait, of which one owner has no more than half.

    `max_waiting` requests wait for one model, each `max_wait_s` at most. Who waits is told its
    place every `tell_s`.
    """

    max_waiting: int = 1000
    max_wait_s: float = 120.0
    tell_s: float = 2.0


class Line:
    """The lines of all models of one controller. It listens to `workers`."""

    def __init__(
        self,
        workers: Registry,
        limits: LineLimits,
        max_bytes: int,
        clock: Callable[[], float],
        ask: Callable[[RegisteredWorker], None] = lambda worker: None,
    ) -> None:
        """Bodies of `max_bytes` together may wait; one owner's have no more than half of that.

        `ask` has a worker asked for its status, and returns at once.
        """
        self.limits = limits
        self._max_bytes = max_bytes
        self._workers = workers
        self._clock = clock
        self._ask = ask
        self._lines: dict[str, ModelLine] = {}  # of models that had workers
        self._bytes: dict[str, int] = {}  # of the bodies that wait, by owner
        self._timer: asyncio.TimerHandle | None = None
        self.batches = BatchQueue(workers, clock, lambda model: bool(self._lines.get(model)))
        workers.on_room = self.give_turns

    def lengths(self) -> dict[str, int]:
        """Return how many wait, by model."""
        return {model: len(line) for model, line in self._lines.items()}

    @asynccontextmanager
    async def dispatch(
        self, asked: DispatchRequest, request: LineRequest
    ) -> AsyncIterator[RegisteredWorker]:
        """Dispatch a request, after a wait where no slot is free; see `Registry.dispatch`.

        Raises:
            LineFull, OwnLineFull: too many wait already.
            LineTimeout: the wait took too long.
            NoWorker, ModelNotFound, InvalidField: there is nobody to wait for.
        """
        if request.is_batch:
            began = self._clock()
            async with self.batches.dispatch(asked, request.owner, request.cost) as worker:
                request.waited_s += self._clock() - began
                yield worker
            return
        line = self._lines.get(asked.model)
        with ExitStack() as held:
            if (not line and self._has_room(asked)) or not self._can_serve(asked):
                worker = held.enter_context(self._workers.dispatch(asked, self._clock()))
            else:
                turn, worker = await self._wait(self._line_of(asked.model), asked, request)
                held.enter_context(turn)
            request.had_turn = True
            line = self._line_of(asked.model)
            began, answers = self._clock(), worker.counted(asked.answers)
            line.start(request.owner, answers, began)
            try:
                yield worker
            finally:
                line.finish(request.owner, answers, self._clock() - began)
                self.batches.note_end(worker)

    def give_turns(self) -> None:
        """Dispatch whoever finds a free slot, in the order of their turns."""
        for line in self._lines.values():
            while line and (waiter := self._next(line)) is not None:
                self._dispatch(line, waiter)
        self.batches.give_turns()

    def _next(self, line: ModelLine) -> Waiter | None:
        for waiter in line.first():
            if self._has_room(waiter.asked):
                return waiter
            if self._collects_slots(waiter.asked):
                break
        if self._clock() - line.moved_at >= _HAND_OVER_S:
            for waiter in line.first():
                if self._filled_by_others(waiter.asked):
                    return waiter
        return None

    def _dispatch(self, line: ModelLine, waiter: Waiter) -> None:
        line.take(waiter)
        line.moved_at = self._clock()
        with ExitStack() as held:
            try:
                worker = held.enter_context(self._workers.dispatch(waiter.asked, line.moved_at))
            except ServeError as exc:
                waiter.turn.set_exception(exc)
            else:
                waiter.turn.set_result((held.pop_all(), worker))

    def _candidates(self, asked: DispatchRequest) -> Iterator[RegisteredWorker]:
        return self._workers.candidates(asked, self._clock())

    def _can_serve(self, asked: DispatchRequest) -> bool:
        return any(True for _ in self._candidates(asked))

    def _has_room(self, asked: DispatchRequest) -> bool:
        return self._workers.has_room(asked, self._clock())

    def _collects_slots(self, asked: DispatchRequest) -> bool:
        """Tell whether slots are free for a request that needs more: nobody else may have them."""
        return asked.answers > 1 and self._has_room(replace(asked, answers=1))

    def _filled_by_others(self, asked: DispatchRequest) -> list[RegisteredWorker]:
        """Return the workers that would have room, had only this controller sent anything."""
        return [
            worker
            for worker in self._candidates(asked)
            if worker.has_own_room(asked.answers) and not worker.has_room(asked.answers)
        ]

    def _line_of(self, model: str) -> ModelLine:
        if (line := self._lines.get(model)) is None:
            now = self._clock()
            line = self._lines[model] = ModelLine(moved_at=now, served_at=now)
        return line

    async def _wait(
        self, line: ModelLine, asked: DispatchRequest, request: LineRequest
    ) -> tuple[ExitStack, RegisteredWorker]:
        self._check(line, request)
        if not line:
            line.moved_at = line.served_at = self._clock()
        waiter = Waiter(asked, request, asyncio.get_running_loop().create_future())
        line.add(waiter)
        self._count_bytes(request.owner, request.body_bytes)
        self._watch()
        self.give_turns()  # a first turn, or a slot that is none for those before
        if not waiter.turn.done():
            self.batches.make_room(asked)
        try:
            return await self._turn_of(waiter, line)
        except BaseException:
            line.remove(waiter)
            if waiter.turn.done() and waiter.turn.exception() is None:
                waiter.turn.result()[0].close()  # the client left as its turn came
            self.give_turns()  # it may have been before one that finds a slot
            raise
        finally:
            self._count_bytes(request.owner, -request.body_bytes)

    async def _turn_of(self, waiter: Waiter, line: ModelLine) -> tuple[ExitStack, RegisteredWorker]:
        request, limits = waiter.request, self.limits
        began, waited_before_s = self._clock(), request.waited_s
        while True:
            left_s = limits.max_wait_s - request.waited_s
            if left_s <= 0:
                raise LineTimeout(limits.max_wait_s, *self._told(line))
            await asyncio.wait({waiter.turn}, timeout=min(limits.tell_s, left_s))
            request.waited_s = waited_before_s + self._clock() - began
            if waiter.turn.done():
                return waiter.turn.result()
            await request.tell(line.place(waiter, self._clock()))

    def _check(self, line: ModelLine, request: LineRequest) -> None:
        """Raises: LineFull, OwnLineFull."""
        if request.had_turn:
            return
        most, size = self.limits.max_waiting, request.body_bytes
        if len(line) >= most or sum(self._bytes.values()) + size > self._max_bytes:
            raise LineFull(*self._told(line))
        own = line.waiting_of(request.owner)
        own_bytes = self._bytes.get(request.owner, 0) + size
        if own >= math.ceil(most / 2) or own_bytes > self._max_bytes // 2:
            raise OwnLineFull(own, *self._told(line))

    def _told(self, line: ModelLine) -> tuple[int, str, int]:
        """Return the length of a line, when it will be over in words, and when to come back."""
        least_s, most_s = _RETRY_AFTER_S
        estimate_s = line.estimate_s(len(line) + 1, self._clock())
        if estimate_s is None:
            return len(line), "", least_s
        return len(line), f", the last for about {estimate_s} s more", min(estimate_s, most_s)

    def _count_bytes(self, owner: str, change_bytes: int) -> None:
        if held_bytes := self._bytes.get(owner, 0) + change_bytes:
            self._bytes[owner] = held_bytes
        else:
            self._bytes.pop(owner, None)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self.look)

    def _end_unserved(self, line: ModelLine) -> None:
        """Dispatch whoever is next for as long as nobody serves it, which says why."""
        while (waiter := next(line.first(), None)) and not self._can_serve(waiter.asked):
            self._dispatch(line, waiter)

    def look(self) -> None:
        """Look for what happens without an event while anybody waits: time, and old counts."""
        self._timer = None
        now = self._clock()
        for line in self._lines.values():
            waiters = list(line.first())
            if waiters and self._can_serve(waiters[0].asked):
                line.served_at = now
            for waiter in waiters:
                for worker in self._filled_by_others(waiter.asked):
                    self._ask(worker)
            if now - line.served_at >= _RETURN_S:
                self._end_unserved(line)
        self.give_turns()
        if any(self._lines.values()):
            self._watch()
