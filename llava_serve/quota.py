"""A quota of bytes or pixels that all requests of a process share: who does not fit waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Quota:
    """`total` units, given out first come, first served; belongs to one event loop.

    Who asks for more than there is gets it once nobody else holds anything.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0
        self.waiting = 0  # requests
        self._turn = asyncio.Lock()  # whose holder is the next to get units
        self._released = asyncio.Event()

    async def acquire(self, units: int) -> None:
        """Wait until `units` are free; whoever is cancelled holds nothing.

        Who asks for none waits for nobody.
        """
        if not units:
            return
        self.waiting += 1
        try:
            async with self._turn:
                while self.held and self.held + units > self.total:
                    self._released.clear()
                    await self._released.wait()
                self.held += units
        finally:
            self.waiting -= 1

    def try_acquire(self, units: int) -> bool:
        """Take `units` if they are free; False where they are not."""
        if self.held + units > self.total:
            return False
        self.held += units
        return True

    def release(self, units: int) -> None:
        """Give `units` back, to whoever waits for them."""
        self.held -= units
        self._released.set()

    @asynccontextmanager
    async def part(self, units: int) -> AsyncIterator[None]:
        """Hold `units` while the body runs."""
        await self.acquire(units)
        try:
            yield
        finally:
            self.release(units)
