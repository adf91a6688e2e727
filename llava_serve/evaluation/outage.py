"""Outage: which errors are the question's and which the server's, and how long one waits."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from llava_serve.errors import (
    CommandError,
    ControllerUnreachable,
    ModelNotAllowed,
    ModelNotFound,
    NoWorker,
    RemoteError,
    ServeError,
    ShuttingDown,
)
from llava_serve.errors.base import RETRY_AFTER
from llava_serve.retry import RateLimitedWarning, jittered_backoff_s

logger = logging.getLogger(__name__)

# "final": the same question fails again. "again": it may not. "server": every question fails.
# "either": a proxy, or another program than ours, does not tell whether it is one question or all.
Fault = Literal["final", "again", "server", "either"]

_ASK_AGAIN = (408, 409, 425)
_FOR_ALL = (401, 429)  # the key, or too much at once
_FOR_SOME = (403, 404)
_OF_ALL = (ControllerUnreachable, ModelNotAllowed, ModelNotFound, NoWorker, ShuttingDown)
_OF_PROXIES = (502, 503, 504)
_BUSY = 503  # where the line is full, or waited too long
_FIRST_S, _LONGEST_S = 1.0, 15.0


def fault_of(error: ServeError) -> Fault:
    """Tell what an error says of the other questions."""
    kind = error.kind if isinstance(error, RemoteError) else type(error)
    if issubclass(kind, _OF_ALL) or error.status in _FOR_ALL or _is_busy(error):
        return "server"
    if error.status in _FOR_SOME or (error.code == "unknown" and error.status in _OF_PROXIES):
        return "either"
    if error.status in _ASK_AGAIN or error.status >= 500:
        return "again"
    return "final"


def _is_busy(error: ServeError) -> bool:
    return error.status == _BUSY and error.code in ("line_full", "line_timeout", "busy")


def pause_s(attempt: int, error: ServeError) -> float:
    """Return the seconds to wait after failure number `attempt`, from 0, of whatever kind."""
    return _asked_s(error) + jittered_backoff_s(attempt, _FIRST_S, _LONGEST_S)


def _asked_s(error: ServeError) -> float:
    try:
        asked_s = float(error.headers.get(RETRY_AFTER, 0))
    except ValueError:  # a date
        return 0.0
    return max(0.0, asked_s)  # of "nan" too, which is below nothing and above nothing


async def _nobody_is_there() -> bool:
    return False


class Outage:
    """Time in which the server answers nobody; all questions of a run share one.

    `answered` counts those it has answered. `is_there` asks whether the model is served.
    """

    def __init__(
        self,
        patience_s: float,
        is_there: Callable[[], Awaitable[bool]] = _nobody_is_there,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.answered = 0
        self._patience_s, self._is_there = patience_s, is_there
        self._clock, self._sleep = clock, sleep
        self._since: float | None = None
        self._warning = RateLimitedWarning(logger, clock)

    def over(self) -> None:
        """Note that the server has answered a question."""
        self.answered += 1
        if self._since is not None:
            self._since = None
            self._warning.reset()

    async def wait(self, attempt: int, error: ServeError) -> bool:
        """Wait before a question is asked again whose failure may be the server's.

        False: it is the question's own, for the server is there and has none other to answer.

        Raises:
            CommandError: nobody was answered for as long as one is patient.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        wait_s = pause_s(attempt, error)
        left_s = self._since + self._patience_s - now
        if left_s <= 0 or _asked_s(error) > self._patience_s:
            if fault_of(error) == "either" and await self._is_there():
                self._since = None
                return False
            raise CommandError(
                f"no question was answered for {now - self._since:.0f} s: {error.message}",
                f"{error.remedy} The same command goes on where this one ends.",
            ) from error
        self._warning.warn(error.code, "asking again for up to %.0f s: %s", left_s, error.message)
        await self._sleep(min(wait_s, left_s))
        return True
