"""Rates: how much of each limit is used in its window, in memory or in Redis."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.errors import ConfigurationError, StorageError

from llava_serve.background import BackgroundTasks
from llava_serve.retry import RateLimitedWarning

logger = logging.getLogger(__name__)

MINUTE_S = 60
_ANSWER_S = 0.5  # within which Redis has to answer
_AWAY_S = 2.0  # that Redis is not asked after it did not answer


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of a limit, and when its window ends."""

    limit: int
    used: int
    reset_s: float

    @property
    def remaining(self) -> int:
        return max(self.limit - self.used, 0)


class Rates:
    """Counts in windows that begin with their first count. Usable inside `opened`.

    With `redis_url` all controllers count together. Memory counts too, and decides while Redis is
    away.

    Raises:
        ValueError: `redis_url` is none of a Redis.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        window_s: int = MINUTE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Used, and when the window ends, by what is limited: no more than there are keys. The
        # library's memory looks through all of them, on a task of its own, at each count.
        self._windows: dict[tuple[str, str, int], tuple[int, float]] = {}
        self._redis = _redis(redis_url) if redis_url else None
        self._window_s = window_s
        self._clock = clock
        self._tasks = BackgroundTasks()
        self._away_until = float("-inf")
        self._warning = RateLimitedWarning(logger)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Close the connections to Redis at the end."""
        try:
            async with self._tasks:
                yield
        finally:
            if self._redis is not None:
                await self._redis.bridge.get_connection().aclose()  # type: ignore[attr-defined]

    async def count(self, what: str, key_id: str, limit: int, amount: int) -> Rate:
        """Add `amount` to what is used of a limit; 0 only looks."""
        known = self._count_here(what, key_id, limit, amount)
        if self._redis is None or self._clock() < self._away_until:
            return known
        item = RateLimitItemPerSecond(limit, self._window_s)
        try:
            rate = await _count(self._redis, item, what, key_id, amount)
        except (StorageError, ValueError) as exc:  # away, or what it holds is no number
            self._away_until = self._clock() + _AWAY_S
            self._warning.warn("away", "limits count in this process alone: %s", exc)
            return known
        self._warning.reset()
        return rate

    def add(
        self, what: str, key_id: str, limit: int, amount: int, then: Callable[[], None]
    ) -> None:
        """Add to what is used of a limit, and wait for nobody; `then` is called when it counts."""
        if self._redis is None:
            self._count_here(what, key_id, limit, amount)
            then()
        else:
            self._tasks.start(self._add(what, key_id, limit, amount, then), "count")

    async def _add(
        self, what: str, key_id: str, limit: int, amount: int, then: Callable[[], None]
    ) -> None:
        try:
            await self.count(what, key_id, limit, amount)
        finally:
            then()

    def _count_here(self, what: str, key_id: str, limit: int, amount: int) -> Rate:
        now, window = self._clock(), (what, key_id, limit)
        used, ends_at = self._windows.get(window, (0, now))
        if ends_at <= now:
            used, ends_at = 0, now + self._window_s
        used += amount
        if amount:
            self._windows[window] = used, ends_at
        return Rate(limit, used, ends_at - now if used else 0.0)


def _redis(url: str) -> RedisStorage:
    """Raises: ValueError, when the URL is none of a Redis, or lacks its port."""
    # A quarter of a second to import, which nobody pays without Redis.
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError

    scheme = "async+redis+" if url.startswith("unix://") else "async+"
    try:
        return RedisStorage(
            scheme + url,
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="llava:limits",
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            # Once more where a connection has died idle, and not where Redis is slow.
            retry=Retry(NoBackoff(), 1, (ConnectionError,)),  # type: ignore[arg-type]
        )
    except ConfigurationError as exc:
        raise ValueError("a Redis is named with host and port, redis://host:6379") from exc


async def _count(
    storage: RedisStorage, item: RateLimitItem, what: str, key_id: str, amount: int
) -> Rate:
    key = item.key_for(what, key_id)
    used = await storage.incr(key, item.get_expiry(), amount) if amount else await storage.get(key)
    ends_at = await storage.get_expiry(key) if used else 0.0
    return Rate(item.amount, used, max(ends_at - time.time(), 0.0))
