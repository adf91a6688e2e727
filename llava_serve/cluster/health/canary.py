"""Canary of workers: each is asked about drawn pictures, so that no blind one gets a user's."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import Counter

from llava_serve.background import BackgroundTasks
from llava_serve.cluster.health.canary_check import CanaryCheck
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.registry.sight import Sight
from llava_serve.errors import ServeError

logger = logging.getLogger(__name__)

CHECK_WITHIN_S = 60.0  # of joining; what was not judged by then gets pictures unchecked
_RETRY_S = 2.0  # of a worker that pictures wait for
_LATER_S = 10.0  # of another one that is busy or does not answer
_RECHECK_S = 60.0  # of a blind one


@dataclass
class Canary:
    """Asks each worker whether it sees: when it joins, and every `every_s` when idle; 0: never.

    A blind one is asked more often, and gets pictures again once it has seen twice in a row.
    Usable inside `tasks`.
    """

    workers: Registry
    check: CanaryCheck
    checks: Counter  # by outcome
    every_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    tasks: BackgroundTasks = field(default_factory=BackgroundTasks, init=False)
    _watched: dict[str, tuple[RegisteredWorker, "asyncio.Task[None]"]] = field(
        default_factory=dict, init=False
    )
    _judged: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def watch(self, worker: RegisteredWorker) -> None:
        """Ask a worker that has been heard of, and go on while the registry knows it."""
        if not self.every_s or worker.canary_model is None:
            return
        if (watched := self._watched.get(worker.address)) is not None:
            known, task = watched
            is_awaited = worker.awaits_canary(self.clock())
            is_asked = not is_awaited or worker.checked_by == known.checked_by
            if known.is_same_model(worker) and is_asked and not task.done():
                return
            task.cancel()
        self._watched = {k: known for k, known in self._watched.items() if not known[1].done()}
        task = self.tasks.start(self._watch(worker), "canary")
        self._watched[worker.address] = (worker, task)

    async def next_verdict(self, within_s: float) -> None:
        """Wait until some worker is judged, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._judged.wait()

    async def _watch(self, worker: RegisteredWorker) -> None:
        was_awaited = worker.awaits_canary(self.clock())
        wait_s = 0.0 if was_awaited else self.every_s
        has_passed = False  # since it was blind
        while True:
            await self.sleep(wait_s)
            if (current := self.workers.get(worker.address)) is None or not current.is_same_model(
                worker
            ):
                return
            is_awaited = current.awaits_canary(self.clock())
            if was_awaited and not is_awaited:
                logger.warning(
                    "worker %s was not checked for sight within %g s: it gets pictures unchecked",
                    worker.address,
                    CHECK_WITHIN_S,
                )
            was_awaited = is_awaited
            sight = await self._look(current)
            if sight is None:
                wait_s = min(_RETRY_S if is_awaited else _LATER_S, self.every_s)
                continue
            was_awaited = False
            has_passed, is_believed = bool(sight.sees), has_passed or current.sees is not False
            if sight.sees is False or is_believed:
                self._judge(current, sight)
            again_s = self.every_s if is_believed else _LATER_S
            wait_s = min(_RECHECK_S if sight.sees is False else again_s, self.every_s)

    async def _look(self, worker: RegisteredWorker) -> Sight | None:
        """Return what a check found; None where the worker is busy or did not answer.

        One that pictures wait for is asked even when it is busy.
        """
        is_free = not worker.queue_length or worker.awaits_canary(self.clock())
        if not (worker.is_reachable and is_free):
            return None
        try:
            with self.workers.counting(worker):
                sight = await self.check.look(worker)
        except ServeError as exc:
            logger.warning("the worker at %s was not checked for sight: %s", worker.address, exc)
            self.checks.labels("unanswered").inc()
            return None
        outcomes = {True: "sees", False: "blind", None: "unclear"}
        self.checks.labels(outcomes[sight.sees]).inc()
        return sight

    def _judge(self, worker: RegisteredWorker, sight: Sight) -> None:
        if not self.workers.judge(worker, sight):
            return
        self._judged.set()
        self._judged = asyncio.Event()
        if (worker.sees, worker.sight) != (sight.sees, sight.reason):
            level = logging.INFO if sight.sees else logging.WARNING
            words = {True: "sees", False: "is blind", None: "may be blind"}
            logger.log(level, "worker %s %s: %s", worker.address, words[sight.sees], sight.reason)
