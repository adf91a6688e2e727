"""Probes of workers: the status of one that broke a connection is asked until it answers again."""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from llava_serve.background import BackgroundTasks
from llava_serve.cluster.registry.breaker import Breaker, probe_wait_s
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.upstream import Upstream
from llava_serve.errors import WorkerUnreachable
from llava_serve.retry import RateLimitedWarning

logger = logging.getLogger(__name__)


class Prober:
    """Takes workers out of dispatch, and brings back those that live. Usable inside `tasks`."""

    def __init__(
        self,
        workers: Registry,
        upstream: Upstream,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._workers = workers
        self._upstream = upstream
        self._clock = clock
        self._sleep = sleep
        self.tasks = BackgroundTasks()
        self._probed: set[tuple[str, str | None]] = set()  # address and worker_id
        self._asked: set[str] = set()  # addresses
        self._warning = RateLimitedWarning(logger, clock)

    def mark_unreachable(self, worker: RegisteredWorker) -> None:
        """Take a worker out of dispatch until it answers, and ask it at once.

        One that goes on to break connections while it answers probes is asked later each time.
        """
        self._start(worker, self._workers.record_failure(worker, self._clock()))

    def doubt(self, worker: RegisteredWorker) -> None:
        """Ask a worker at once that failed another controller, and try it with one request."""
        self._start(worker, self._workers.doubt(worker, self._clock()))

    def _start(self, worker: RegisteredWorker, breaker: Breaker) -> None:
        process = (worker.address, worker.status.worker_id)
        if process not in self._probed:
            self._probed.add(process)
            self.tasks.start(self._probe(worker, breaker), "probe-worker")

    async def ask(self, worker: RegisteredWorker) -> bool:
        """Take over a worker's status; False: it does not answer, and leaves dispatch."""
        try:
            status = await self._upstream.status(worker.address, is_legacy=worker.is_legacy)
        except WorkerUnreachable as exc:
            kind = (worker.address, exc.message)
            self._warning.warn(kind, "%s: %s", worker.address, exc.message)
            self._workers.mark_unreachable(worker)
            return False
        return self._workers.refresh(worker, status, self._clock())

    def ask_soon(self, worker: RegisteredWorker) -> None:
        """Ask for a worker's status in the background; silence means nothing here."""
        if worker.address not in self._asked:
            self._asked.add(worker.address)
            self.tasks.start(self._ask_once(worker), "ask-worker")

    async def _ask_once(self, worker: RegisteredWorker) -> None:
        try:
            with suppress(WorkerUnreachable):
                status = await self._upstream.status(worker.address, is_legacy=worker.is_legacy)
                self._workers.refresh(worker, status, self._clock())
        finally:
            self._asked.discard(worker.address)

    async def _probe(self, worker: RegisteredWorker, breaker: Breaker) -> None:
        try:
            for attempt in itertools.count(breaker.failures - 1):
                if wait_s := probe_wait_s(attempt):
                    await self._sleep(wait_s)
                if not self._workers.may_recover(worker, self._clock()):
                    return  # a heartbeat was faster, it left, or its lease is over
                if await self.ask(worker) and not self._workers.may_recover(worker, self._clock()):
                    logger.info("worker %s answers again", worker.address)
                    return
        finally:
            self._probed.discard((worker.address, worker.status.worker_id))
