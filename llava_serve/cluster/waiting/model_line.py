"""Line of one model: who waits for it, in the order of their turns, and how long that takes."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from llava_serve.cluster.registry.dispatch import DispatchRequest
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.waiting.fair_queue import FairQueue, Ticket
from llava_serve.protocol.line_place import LinePlace

_LEAST_MEASURED = 5  # times of service that an estimate is made of
_MEASURED = 10  # the last ones


@dataclass(slots=True, kw_only=True)
class LineRequest:
    """A request as the line sees it, each time that it is dispatched.

    `cost` is the tokens that it will probably take; `tell` shows its client the place in line. One
    of a batch is not in this line, but behind it.
    """

    owner: str
    cost: float
    body_bytes: int
    tell: Callable[[LinePlace], Awaitable[None]]
    waited_s: float = 0.0
    had_turn: bool = False
    is_batch: bool = False


@dataclass(eq=False, slots=True)
class Waiter:
    """One that waits; its turn is a worker, counted in the registry until the stack is closed."""

    asked: DispatchRequest
    request: LineRequest
    turn: asyncio.Future[tuple[ExitStack, RegisteredWorker]]
    ticket: Ticket["Waiter"] | None = None  # None: it had a turn, and its worker was lost


@dataclass(eq=False, slots=True)
class ModelLine:
    """Those whose worker was lost are before all others, who have fair turns."""

    moved_at: float  # when the last one had its turn
    served_at: float  # when there was last a worker
    _running: Counter[str] = field(default_factory=Counter)  # answers, by owner
    _fair: FairQueue[Waiter] = field(default_factory=FairQueue)
    _returned: deque[Waiter] = field(default_factory=deque)
    _service_s: deque[float] = field(default_factory=lambda: deque(maxlen=_MEASURED))

    def __len__(self) -> int:
        return len(self._fair) + len(self._returned)

    def add(self, waiter: Waiter) -> None:
        owner, cost = waiter.request.owner, waiter.request.cost
        if waiter.request.had_turn:
            self._returned.append(waiter)
        else:
            is_served = owner in self._running
            asked = waiter.asked
            kind = (asked.native, asked.has_images)  # what decides which workers may have it
            waiter.ticket = self._fair.push(owner, cost, waiter, kind, is_served=is_served)

    def first(self) -> Iterator[Waiter]:
        """Yield who may be next, best first; the later ones in case no slot is for the first."""
        yield from self._returned
        passed: set[Hashable] = set()
        while (ticket := self._fair.peek(passed)) is not None:
            yield ticket.item
            passed.add(ticket.kind)

    def take(self, waiter: Waiter) -> None:
        """Take out one of `first`."""
        if waiter.ticket is None:
            self._returned.remove(waiter)
        else:
            self._fair.take(waiter.ticket)

    def remove(self, waiter: Waiter) -> None:
        """Take out one whose client left, or which has waited too long; harmless when repeated."""
        if waiter.ticket is not None:
            self._fair.remove(waiter.ticket)
        elif waiter in self._returned:
            self._returned.remove(waiter)

    def waiting_of(self, owner: str) -> int:
        """Return how many requests of an owner wait for a first turn."""
        return self._fair.waiting_of(owner)

    def place(self, waiter: Waiter, now: float) -> LinePlace:
        """Return the place of one that waits."""
        if waiter.ticket is None:
            before = self._returned.index(waiter)
        else:
            before = len(self._returned) + self._fair.position(waiter.ticket)
        return LinePlace(before + 1, len(self), self.estimate_s(before + 1, now))

    def start(self, owner: str, answers: int, now: float) -> None:
        """Count answers that are made."""
        self.moved_at = now
        self._running[owner] += answers

    def finish(self, owner: str, answers: int, held_s: float) -> None:
        """Count answers that are no longer made, and measure how long they held their slots."""
        self._running[owner] -= answers
        if not self._running[owner]:
            del self._running[owner]
        self._service_s.append(held_s)

    def estimate_s(self, turns: int, now: float) -> int | None:
        """Return how long so many turns take; None where that was not measured, or does not hold.

        It does not hold where the last answers took very different times, nor while no slot comes
        back for much longer than slots were held.
        """
        running = self._running.total()
        if len(self._service_s) < _LEAST_MEASURED or not running:
            return None
        mean_s = fmean(self._service_s)
        if now - self.moved_at > 2 * mean_s or pstdev(self._service_s) > mean_s:
            return None
        return max(1, round(turns * mean_s / running))
