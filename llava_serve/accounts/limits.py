"""Rate limits of API keys: requests and tokens per minute, answers at once, tokens per month."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string

from llava_serve.accounts.keyring import KeyRing
from llava_serve.api_key import ApiKey, seconds_to_next_month
from llava_serve.errors import BudgetSpent, ModelNotAllowed, RateLimited

MEMORY = "async+memory://"
_AT_ONCE_RETRY_S = 1.0


class KeyLimits:
    """What each key has left. Minutes are counted in a storage of `limits`, memory or Redis.

    A minute begins with a key's first request in it. Requests count when they come. How many tokens
    an answer has is known at its end: they count then, even beyond the limit, and what is counted
    decides about the next request.
    """

    def __init__(
        self, keys: KeyRing, storage: str = MEMORY, clock: Callable[[], float] = time.time
    ) -> None:
        made = storage_from_string(storage)
        assert isinstance(made, Storage)
        self._minutes = FixedWindowRateLimiter(made)
        self._keys = keys
        self._clock = clock
        self._at_once: Counter[str] = Counter()

    async def admit(self, key: ApiKey, model: str) -> dict[str, str]:
        """Count a request; return the `x-ratelimit-*` headers of its answer.

        Raises:
            ModelNotAllowed, BudgetSpent, RateLimited: with the seconds until it may be asked again.
        """
        if not key.may_ask(model):
            raise ModelNotAllowed(model)
        budget = key.monthly_tokens
        if budget is not None and self._keys.tokens_this_month(key) >= budget:
            raise BudgetSpent(budget, seconds_to_next_month(self._clock()))
        headers: dict[str, str] = {}
        for what, limit, cost in (
            ("tokens", key.tokens_per_minute, 0),
            ("requests", key.requests_per_minute, 1),
        ):
            if limit is None:
                continue
            item = RateLimitItemPerMinute(limit)
            is_left = (
                await self._minutes.hit(item, what, key.id)
                if cost
                else await self._minutes.test(item, what, key.id)
            )
            headers |= await self._told(item, what, key)
            if not is_left:
                stats = await self._minutes.get_window_stats(item, what, key.id)
                left_s = max(stats.reset_time - time.time(), 0)
                raise RateLimited(f"{what} per minute", limit, left_s)
        return headers

    @contextmanager
    def running(self, key: ApiKey, answers: int) -> Iterator[None]:
        """Count answers while they are made.

        Raises:
            RateLimited: the key has too many at once.
        """
        if key.max_parallel is not None and self._at_once[key.id] + answers > key.max_parallel:
            raise RateLimited("answers at once", key.max_parallel, _AT_ONCE_RETRY_S)
        self._at_once[key.id] += answers
        try:
            yield
        finally:
            self._at_once[key.id] -= answers

    async def charge(self, key: ApiKey, tokens: int) -> None:
        """Count the tokens of an answer that has ended."""
        self._keys.add_tokens(key, tokens)
        if key.tokens_per_minute is not None and tokens:
            item = RateLimitItemPerMinute(key.tokens_per_minute)
            await self._minutes.hit(item, "tokens", key.id, cost=tokens)

    async def _told(self, item: RateLimitItem, what: str, key: ApiKey) -> dict[str, str]:
        """Source: platform.openai.com/docs/guides/rate-limits, "Rate limits in headers"."""
        stats = await self._minutes.get_window_stats(item, what, key.id)
        return {
            f"x-ratelimit-limit-{what}": str(item.amount),
            f"x-ratelimit-remaining-{what}": str(max(stats.remaining, 0)),
            f"x-ratelimit-reset-{what}": f"{max(stats.reset_time - time.time(), 0):.3f}s",
        }
