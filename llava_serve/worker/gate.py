"""The gate of a worker: slots for running answers, a bounded line, closed at shutdown."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from llava_serve.engines.base import Load
from llava_serve.errors import Busy, ShuttingDown


def _own_load_only() -> None:
    """Add nothing: the engine serves this worker alone."""


class Gate:
    """`limit` slots and a line of at most `max_waiting` before them; who is ready first runs first.

    A request takes a slot for each answer that it asks for, all at once; one that asks for more
    than there are takes them all, and has to make do with these.
    `engine_load` tells the load of an engine that serves others too.
    """

    def __init__(
        self, limit: int, max_waiting: int, engine_load: Callable[[], Load | None] = _own_load_only
    ) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self.is_open = True
        self._max_waiting = max_waiting
        self._slots = asyncio.Semaphore(limit)
        self._first_in_line = asyncio.Lock()  # alone takes slots: two would wait for each other's
        self._engine_load = engine_load

    @property
    def queue_length(self) -> int:
        """Running and waiting answers of this worker."""
        return self.running + self.waiting

    @property
    def load(self) -> Load:
        """What heart-beats report."""
        if (engine := self._engine_load()) is None:
            return Load(self.queue_length, self.limit)
        queue_length = max(self.queue_length, engine.queue_length + self.waiting)
        return Load(queue_length, min(self.limit, engine.capacity))

    def close(self) -> None:
        """Refuse new requests; those that run or wait are served."""
        self.is_open = False

    @asynccontextmanager
    async def slots(
        self, count: int = 1, prepare: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[int]:
        """Wait for slots of `count` answers; they come back however the body ends.

        Yields how many they are. A request is prepared in the line, before it takes slots: one that
        waits for its images to be decoded keeps nobody else from running.

        Raises:
            Busy: slots and line together have no room for `count` more.
            ShuttingDown: the gate is closed.
        """
        if not self.is_open:
            raise ShuttingDown
        count = min(count, self.limit)
        most = self.limit + self._max_waiting
        if self.queue_length + count > most:
            raise Busy(self.running, self.waiting, count, most)
        self.waiting += count
        try:
            if prepare is not None:
                await prepare()
            await self._take(count)
        finally:
            self.waiting -= count
        self.running += count
        try:
            yield count
        finally:
            self.running -= count
            self._give_back(count)

    async def _take(self, count: int) -> None:
        taken = 0
        try:
            async with self._first_in_line:
                while taken < count:
                    await self._slots.acquire()
                    taken += 1
        except BaseException:
            self._give_back(taken)
            raise

    def _give_back(self, count: int) -> None:
        for _ in range(count):
            self._slots.release()
