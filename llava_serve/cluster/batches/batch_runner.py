"""Batch runner: finds the batches that nobody runs, as those of a process that was killed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from llava_serve.background import BackgroundTasks
from llava_serve.cluster.batches.batch_run import BatchRun
from llava_serve.cluster.batches.batch_store import BatchFolder, BatchStore
from llava_serve.cluster.batches.line_asking import BatchContext
from llava_serve.errors import StorageFailed
from llava_serve.http import serving

logger = logging.getLogger(__name__)

_LOOK_S = 5.0  # for a batch that another controller has let go of


class BatchRunner:
    """Runs the batches of a store, each under its lock. Usable inside `running`."""

    def __init__(self, store: BatchStore, context: BatchContext) -> None:
        self._store = store
        self._context = context
        self._here: set[BatchFolder] = set()
        self._new: set[str] = set()
        self._soon = asyncio.Event()
        self._tasks = BackgroundTasks()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run them while the body runs; they go on where they were with the next process."""
        async with self._tasks:
            self._tasks.start(self._look(), "batches")
            yield

    def add(self, batch_id: str) -> None:
        """Run one that was made here just now."""
        self._new.add(batch_id)
        self._soon.set()

    async def _look(self) -> None:
        while True:
            self._soon.clear()
            try:
                for folder in await asyncio.to_thread(self._store.under_way):
                    if folder not in self._here:
                        self._here.add(folder)
                        self._tasks.start(self._run(folder), folder.path.name)
            except StorageFailed as exc:  # the next time is the retry
                serving.log_error(exc)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._soon.wait()

    async def _run(self, folder: BatchFolder) -> None:
        try:
            with folder.locked() as is_ours:
                batch = folder.read() if is_ours else None
                if batch is not None and not batch.has_ended:
                    is_new = batch.id in self._new
                    await BatchRun(self._context, folder, batch, is_new=is_new).run()
                    self._new.discard(batch.id)
        except* StorageFailed as group:
            for exc in group.exceptions:
                if isinstance(exc, StorageFailed):
                    serving.log_error(exc)
        finally:
            self._here.discard(folder)
