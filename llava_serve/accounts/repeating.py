"""Repeated work of accounts: writes that no request waits for, and a last one at the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def repeated(
    work: Callable[[], Awaitable[None]], every_s: float, name: str
) -> AsyncIterator[None]:
    """Do `work` every so many seconds while the body runs, and once more behind it."""
    closing = asyncio.Event()

    async def keep() -> None:
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(closing.wait(), every_s)
            is_last = closing.is_set()  # before the work, which may not see what comes meanwhile
            await work()

    task = asyncio.create_task(keep(), name=name)
    try:
        yield
    finally:
        closing.set()  # not cancelled: what is half written would be written twice
        await task
