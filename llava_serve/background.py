"""Background tasks: each ends with the `async with` block that started it; its bugs are logged."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from llava_serve import logs


@asynccontextmanager
async def background(
    work: Coroutine[Any, Any, None], name: str
) -> AsyncIterator["asyncio.Task[None]"]:
    """Run `work` while the body runs, then cancel it and wait for its end."""
    async with BackgroundTasks() as tasks:
        yield tasks.start(work, name)


class BackgroundTasks:
    """Tasks that are started while the block runs; leaving it cancels them and waits for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "BackgroundTasks":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(logs.log_a_bug)
        return task


async def gather_or_cancel(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all; when one fails or this is cancelled, cancel the others and wait for their end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
