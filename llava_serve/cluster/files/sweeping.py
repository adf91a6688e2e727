"""Sweeping of a file shelf: what has expired is removed, while the controller runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llava_serve.background import background
from llava_serve.cluster.files.shelf import FileShelf
from llava_serve.errors import StorageFailed
from llava_serve.http import serving

_EVERY_S = 600.0


@asynccontextmanager
async def swept(shelf: FileShelf, every_s: float = _EVERY_S) -> AsyncIterator[None]:
    """Sweep at once, and every so many seconds while the body runs."""

    async def sweep() -> None:
        while True:
            try:
                await asyncio.to_thread(shelf.sweep)
            except StorageFailed as exc:  # the next time is the retry
                serving.log_error(exc)
            await asyncio.sleep(every_s)

    async with background(sweep(), "sweep-files"):
        yield
