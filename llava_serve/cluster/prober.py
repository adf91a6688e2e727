"""Probes of workers: the status of one that broke a connection is asked until it answers again."""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable

from llava_serve.background import BackgroundTasks
from llava_serve.cluster.registered_worker import RegisteredWorker
from llava_serve.cluster.registry import Registry
from llava_serve.cluster.upstream import Upstream
from llava_serve.errors import WorkerUnreachable
from llava_serve.retry import RateLimitedWarning, backoff_s

logger = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 15.0
_STABLE_S = 60.0  # between two broken connections that have nothing to do with each other


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
        self._breaks: dict[str, tuple[int, float]] = {}  # by address: how many in a row, when last
        self._warning = RateLimitedWarning(logger, clock)

    def mark_unreachable(self, worker: RegisteredWorker) -> None:
        """Take a worker out of dispatch until it answers, and ask it at once.

        One that goes on to break connections while it answers probes is asked later each time.
        """
        self._workers.mark_unreachable(worker)
        process = (worker.address, worker.status.worker_id)
        if process not in self._probed:
            self._probed.add(process)
            self.tasks.start(self._probe(worker), "probe-worker")

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

    async def _probe(self, worker: RegisteredWorker) -> None:
        try:
            for attempt in itertools.count(self._count_break(worker.address)):
                if attempt:
                    await self._sleep(backoff_s(attempt - 1, _FIRST_WAIT_S, _LONGEST_WAIT_S))
                if not self._workers.may_recover(worker, self._clock()):
                    return  # a heartbeat was faster, it left, or its lease is over
                if await self.ask(worker):
                    logger.info("worker %s answers again", worker.address)
                    return
        finally:
            self._probed.discard((worker.address, worker.status.worker_id))

    def _count_break(self, address: str) -> int:
        """Return how many broken connections came before this one, each soon after the last."""
        now = self._clock()
        count, last = self._breaks.get(address, (-1, now))
        count = count + 1 if now - last < _STABLE_S else 0
        self._breaks = {
            known: value for known, value in self._breaks.items() if now - value[1] < _STABLE_S
        } | {address: (count, now)}
        return count
