"""The gate of a worker: slots for running answers, a bounded line, closed at shutdown."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from llava_serve.engines.base import Load
from llava_serve.errors import Busy, ShuttingDown

Prepared = TypeVar("Prepared")


class Gate:
    """`limit` slots and a line of at most `max_waiting` before them; who is ready first runs first.

    A request takes a slot for each answer that it asks for, all at once; one that asks for more
    than there are takes them all, and has to make do with these.
    `engine_load` tells the load of an engine that serves others too; None: it serves nobody else.
    """

    def __init__(
        self, limit: int, max_waiting: int, engine_load: Callable[[], Load | None] = lambda: None
    ) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self.is_open = True
        self._max_waiting = max_waiting
        self._came_back = asyncio.Event()  # a slot
        self._first_in_line = asyncio.Lock()  # alone waits for slots, and then takes all of its own
        self._engine_load = engine_load

    @property
    def queue_length(self) -> int:
        """Running and waiting answers of this worker."""
        return self.running + self.waiting

    @property
    def load(self) -> Load:
        """What heartbeats report."""
        if (engine := self._engine_load()) is None:
            return Load(self.queue_length, self.limit)
        queue_length = max(self.queue_length, engine.queue_length + self.waiting)
        return Load(queue_length, min(self.limit, engine.capacity))

    def close(self) -> None:
        """Refuse new requests; those that run or wait are served."""
        self.is_open = False

    @contextmanager
    def line(self, count: int = 1) -> Iterator[None]:
        """Hold `count` places in line while the body runs, which may take no slot at all.

        Raises:
            Busy: slots and line together have no room for `count` more.
            ShuttingDown: the gate is closed.
        """
        if not self.is_open:
            raise ShuttingDown
        most = self.limit + self._max_waiting
        if self.queue_length + count > most:
            raise Busy(self.running, self.waiting, count, most)
        self.waiting += count
        try:
            yield
        finally:
            self.waiting -= count

    @asynccontextmanager
    async def slots(
        self, count: int, prepare: Callable[[], Awaitable[Prepared]]
    ) -> AsyncIterator[tuple[int, Prepared]]:
        """Wait for slots of `count` answers; they come back however the body ends.

        Yields how many they are, and what `prepare` returned. A request is prepared in the line,
        before it takes slots: one whose images are being decoded keeps nobody else from running.

        Raises:
            Busy: slots and line together have no room for `count` more.
            ShuttingDown: the gate is closed.
        """
        count = min(count, self.limit)
        with self.line(count):
            prepared = await prepare()
            async with self._first_in_line:
                while self.running + count > self.limit:
                    self._came_back.clear()
                    await self._came_back.wait()
                self.running += count
        try:
            yield count, prepared
        finally:
            self.running -= count
            self._came_back.set()
