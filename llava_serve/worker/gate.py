"""How many requests a worker runs at once, how many wait, and that none come when it stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llava_serve.errors import Busy, ShuttingDown


class Gate:
    """`limit` slots and a line of at most `max_waiting` before them, first come, first served."""

    def __init__(self, limit: int, max_waiting: int) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self.is_open = True
        self._max_waiting = max_waiting
        self._slots = asyncio.Semaphore(limit)

    @property
    def queue_length(self) -> int:
        """Running and waiting requests: what heart-beats report."""
        return self.running + self.waiting

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
