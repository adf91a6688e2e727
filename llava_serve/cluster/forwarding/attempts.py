"""Attempts of one request: which workers failed, how, and when another one may be asked."""

import asyncio
from collections.abc import Callable, Collection

from llava_serve.cluster.forwarding.retry_budget import RetryBudget
from llava_serve.cluster.recording.failure_log import FailureLog
from llava_serve.cluster.upstream.upstream import NotAnswered
from llava_serve.errors import (
    BUSY,
    LOST,
    NOT_ANSWERED,
    WorkerLost,
    WorkerUnreachable,
)
from llava_serve.retry import jittered_backoff_s

MOST_LOST = 3  # workers with one request: the first, and two that were asked again
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.05, 1.0  # after a lost worker, until another one is asked
_RETURN_S = 1.0  # for a worker that can go on with an answer, where there is none
_LOOK_S = 0.25

Failure = WorkerUnreachable | WorkerLost | NotAnswered


class Attempts:
    """How the workers failed that a request was given to, by address, since it last got on."""

    def __init__(
        self, budget: RetryBudget, clock: Callable[[], float], log: FailureLog | None = None
    ) -> None:
        """What fails is written into `log` as well, for operators."""
        self._budget = budget
        self._clock = clock
        self._log = log
        self._failures: dict[str, Failure] = {}
        self._waits_since: float | None = None
        self.first: Failure | None = None
        self.lost = 0  # workers
        budget.count_request()

    @property
    def are_too_many(self) -> bool:
        """Whether as many workers were lost with the request as may be."""
        return self.lost >= MOST_LOST

    @property
    def tried(self) -> Collection[str]:
        return self._failures

    @property
    def last(self) -> Failure | None:
        return next(reversed(self._failures.values()), None)

    def add(self, address: str, failure: Failure) -> None:
        """Remember that the worker at `address` did not answer, or not to the end."""
        self._failures.pop(address, None)
        self._failures[address] = failure
        if self._log is not None and not isinstance(failure, NotAnswered):
            self._log.blame(address, failure.code)
        self.first = self.first or failure
        self.lost += failure.headers[NOT_ANSWERED] == LOST

    def start_over(self) -> None:
        """Forget the failures before an answer got on: its workers may be asked again."""
        self._failures = {}
        self._waits_since = self.first = None
        self.lost = 0

    async def may_retry(self, latest: float) -> bool:
        """Wait for the budget after a worker that was lost; False: that takes too long.

        False too where too many were lost. After one that only declined nobody waits.
        """
        if self.last is None or self.last.headers[NOT_ANSWERED] != LOST:
            return True
        if self.are_too_many:
            return False
        await asyncio.sleep(jittered_backoff_s(self.lost - 1, _FIRST_RETRY_S, _LONGEST_RETRY_S))
        while wait_s := self._budget.take(self._clock()):
            if self._clock() + wait_s > latest:
                return False
            await asyncio.sleep(wait_s)
        return True

    async def may_return(self) -> bool:
        """Wait a moment for any worker, the lost ones included; False: that was long enough."""
        now = self._clock()
        self._waits_since = now if self._waits_since is None else self._waits_since
        if now - self._waits_since > _RETURN_S:
            return False
        await asyncio.sleep(_LOOK_S)
        self._failures = {}
        return True

    def forget_busy(self) -> bool:
        """Let busy workers be asked again; False where no worker was lost, or none is busy."""
        if not self.lost:
            return False
        tried = self._failures.items()
        others = {address: how for address, how in tried if how.headers[NOT_ANSWERED] != BUSY}
        had_busy = len(others) < len(tried)
        self._failures = others
        return had_busy
