"""Repeated work of accounts: writes that no request waits for, and a last one at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from llava_serve import logs


@asynccontextmanager
async def repeated(
    work: Callable[[], Coroutine[Any, Any, None]], every_s: float, name: str
) -> AsyncIterator[None]:
    """Do `work` every so many seconds while the body runs, and once more behind it.

    A bug in it is logged, and it is done again all the same.
    """
    closing = asyncio.Event()

    async def keep() -> None:
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                await asyncio.wait_for(closing.wait(), every_s)
            is_last = closing.is_set()  # before the work, which may not see what comes meanwhile
            once = asyncio.create_task(work(), name=name)
            once.add_done_callback(logs.log_a_bug)
            await asyncio.wait({once})

    task = asyncio.create_task(keep(), name=name)
    try:
        yield
    finally:
        closing.set()  # not cancelled: what is half written would be written twice
        await task
