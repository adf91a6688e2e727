"""File gate: stored files arrive, or are removed, and never both at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FileGate:
    """Between its arrival and the exchange that has it, a file looks as if nobody used it."""

    def __init__(self) -> None:
        self._arriving = 0
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._removing = asyncio.Lock()

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """Take files in; no file is removed until the block has said who uses them."""
        async with self._removing:
            self._arriving += 1
            self._is_empty.clear()
        try:
            yield
        finally:
            self._arriving -= 1
            if not self._arriving:
                self._is_empty.set()

    @asynccontextmanager
    async def removing(self) -> AsyncIterator[None]:
        """Remove files that nobody uses; those that arrive wait until the block ends."""
        async with self._removing:
            await self._is_empty.wait()
            yield
