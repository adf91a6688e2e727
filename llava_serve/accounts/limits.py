"""Limits of API keys: models, requests and tokens per minute, answers at once, tokens per month."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.rates import Rate, Rates
from llava_serve.api_key import ApiKey, seconds_to_next_month
from llava_serve.errors import BudgetSpent, ModelNotAllowed, RateLimited

_AT_ONCE_RETRY_S = 1.0


class KeyLimits:
    """What each key has left.

    Requests count when they come. How many tokens an answer has is known at its end: they count
    then, even beyond the limit, and what is counted decides about the next request. Answers at once
    are those of this controller.
    """

    def __init__(
        self, keys: KeyRing, rates: Rates | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._rates = rates or Rates()
        self._keys = keys
        self._clock = clock
        self._at_once: Counter[str] = Counter()

    @asynccontextmanager
    async def admitted(
        self, key: ApiKey | None, model: str, answers: int
    ) -> AsyncIterator[dict[str, str]]:
        """Count a request while it is served; yield the `x-ratelimit-*` headers of its answer.

        Without a key there is no limit.

        Raises:
            ModelNotAllowed, BudgetSpent, RateLimited: with the seconds until it may be asked again.
            KeyRefused: the key was revoked or has expired meanwhile; the body is cancelled.
        """
        if key is None:
            yield {}
            return
        self._check(key, model, answers)
        self._at_once[key.id] += answers  # before anything is waited for
        try:
            async with self._keys.while_good(key):
                yield await self._count_request(key)
        finally:
            self._at_once[key.id] -= answers
            if not self._at_once[key.id]:
                del self._at_once[key.id]

    def count_tokens(self, key: ApiKey, tokens: int) -> None:
        """Count the tokens of an answer that has ended, for the minute."""
        if key.tokens_per_minute is not None and tokens:
            self._rates.add("tokens", key.id, key.tokens_per_minute, tokens)

    def _check(self, key: ApiKey, model: str, answers: int) -> None:
        if not key.may_ask(model):
            raise ModelNotAllowed(model)
        budget = key.monthly_tokens
        if budget is not None and self._keys.tokens_this_month(key) >= budget:
            raise BudgetSpent(budget, seconds_to_next_month(self._clock()))
        if key.max_parallel is not None and self._at_once[key.id] + answers > key.max_parallel:
            raise RateLimited("answers at once", key.max_parallel, _AT_ONCE_RETRY_S)

    async def _count_request(self, key: ApiKey) -> dict[str, str]:
        headers: dict[str, str] = {}
        if (limit := key.tokens_per_minute) is not None:
            tokens = await self._rates.count("tokens", key.id, limit, 0)
            headers |= _told("tokens", tokens)
            if not tokens.remaining:
                raise _refusal("tokens", tokens, headers)
        if (limit := key.requests_per_minute) is not None:
            requests = await self._rates.count("requests", key.id, limit, 1)
            headers |= _told("requests", requests)
            if requests.used > limit:
                raise _refusal("requests", requests, headers)
        return headers


def _refusal(what: str, rate: Rate, told: Mapping[str, str]) -> RateLimited:
    refused = RateLimited(f"{what} per minute", rate.limit, rate.reset_s)
    refused.headers = {**refused.headers, **told}
    return refused


def _told(what: str, rate: Rate) -> dict[str, str]:
    """Source: platform.openai.com/docs/guides/rate-limits, "Rate limits in headers"."""
    return {
        f"x-ratelimit-limit-{what}": str(rate.limit),
        f"x-ratelimit-remaining-{what}": str(rate.remaining),
        f"x-ratelimit-reset-{what}": f"{rate.reset_s:.3f}s",
    }
