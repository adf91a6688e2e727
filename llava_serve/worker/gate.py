"""How many requests a worker runs at once, how many wait, and that none come when it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from llava_serve.engines.base import Load
from llava_serve.errors import Busy, ShuttingDown


def _no_others() -> None:
    """Only this worker's requests reach the engine."""


class Gate:
    """`limit` slots and a line of at most `max_waiting` before them, first come, first served.

    `beyond` tells the load of an engine that serves others too.
    """

    def __init__(
        self, limit: int, max_waiting: int, beyond: Callable[[], Load | None] = _no_others
    ) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self.is_open = True
        self._max_waiting = max_waiting
        self._slots = asyncio.Semaphore(limit)
        self._beyond = beyond

    @property
    def queue_length(self) -> int:
        """Running and waiting requests of this worker."""
        return self.running + self.waiting

    @property
    def load(self) -> Load:
        """What heart-beats report."""
        if (beyond := self._beyond()) is None:
            return Load(self.queue_length, self.limit)
        queue_length = max(self.queue_length, beyond.queue_length + self.waiting)
        return Load(queue_length, min(self.limit, beyond.capacity))

    def close(self) -> None:
        """Refuse new requests; those that run or wait are served."""
        self.is_open = False

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot; it comes back however the body ends.

        Raises:
            Busy: every slot and every waiting place is taken.
            ShuttingDown: the gate is closed.
        """
        if not self.is_open:
            raise ShuttingDown
        if self.queue_length >= self.limit + self._max_waiting:
            raise Busy(self.running, self.waiting)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()
