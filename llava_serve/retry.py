"""Retries: back-off between them, and rate-limited warnings while they fail."""

import logging
import random
import time
from collections.abc import Callable

WARN_EVERY_S = 60.0


def backoff_s(attempt: int, first_s: float, longest_s: float) -> float:
    """Return the seconds to wait after failure number `attempt`, from 0: doubled each time."""
    return min(first_s * 2.0 ** min(attempt, 100), longest_s)


def jittered_backoff_s(attempt: int, first_s: float, longest_s: float) -> float:
    """Return a random time up to `backoff_s`, so that those who failed together come apart.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter", 2015, "full jitter".
    """
    return random.uniform(0, backoff_s(attempt, first_s, longest_s))


class RateLimitedWarning:
    """Logs a failure at once when its kind is new, and again once a minute while it lasts."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._warned_at: dict[object, float] = {}  # by kind

    def warn(self, kind: object, message: str, *args: object) -> None:
        now = self._clock()
        self._warned_at = {k: at for k, at in self._warned_at.items() if now - at < WARN_EVERY_S}
        if kind not in self._warned_at:
            self._warned_at[kind] = now
            self._logger.warning(message, *args)

    def reset(self) -> None:
        """Take the next failure for a new one: what failed works again."""
        self._warned_at.clear()
