"""A quota of bytes or pixels that all requests of a process share: who does not fit waits."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Quota:
    """`total` units, given out first come, first served; belongs to one event loop.

    Who asks for more than there is gets it once nobody else holds anything.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def acquire(self, units: int) -> None:
        """Wait until `units` are free; whoever is cancelled holds nothing."""
        if not self._waiting and self._fits(units):
            self.held += units
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((units, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came in the same moment
                self.release(units)
            else:
                with suppress(ValueError):  # passed over already, as its turn came
                    self._waiting.remove((units, turn))
                self._wake()
            raise

    def release(self, units: int) -> None:
        self.held -= units
        self._wake()

    @asynccontextmanager
    async def part(self, units: int) -> AsyncIterator[None]:
        """Hold `units` while the body runs."""
        await self.acquire(units)
        try:
            yield
        finally:
            self.release(units)

    def _fits(self, units: int) -> bool:
        return self.held + units <= self.total or not self.held

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            units, turn = self._waiting.popleft()
            if not turn.done():
                self.held += units
                turn.set_result(None)
