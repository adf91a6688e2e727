"""Sweeping of what is kept for owners: the expired is removed, while the controller runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from llava_serve.background import background
from llava_serve.errors import StorageFailed
from llava_serve.http import serving

_EVERY_S = 600.0


class Sweepable(Protocol):
    """What keeps things that expire; its method blocks."""

    def sweep(self) -> None: ...


@asynccontextmanager
async def swept(kept: Sweepable, every_s: float = _EVERY_S) -> AsyncIterator[None]:
    """Sweep at once, and every so many seconds while the body runs."""

    async def sweep() -> None:
        while True:
            try:
                await asyncio.to_thread(kept.sweep)
            except StorageFailed as exc:  # the next time is the retry
                serving.log_error(exc)
            await asyncio.sleep(every_s)

    async with background(sweep(), f"sweep-{type(kept).__name__}"):
        yield
