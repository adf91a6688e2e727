"""Limits of API keys: models, requests and tokens per minute, answers at once, tokens per month."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from llava_serve.accounts.key_counts import KeyCounts
from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.rates import Rate, Rates
from llava_serve.api_key import ApiKey, seconds_to_next_month
from llava_serve.errors import BudgetSpent, ModelNotAllowed, RateLimited

_RUNNING_RETRY_S = 1.0  # what runs may end at any moment


class KeyLimits:
    """What each key has left.

    Requests count when they come. How many tokens an answer has is known at its end: they count
    then, even beyond the limit. Until then those count that the request is expected to take, and a
    request is admitted while both together are below the limit: so it may itself take more than is
    left. `counts` are of what runs here and at the other controllers.
    """

    def __init__(
        self, keys: KeyRing, rates: Rates | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._rates = rates or Rates()
        self._keys = keys
        self._clock = clock
        self.counts = KeyCounts()

    @asynccontextmanager
    async def admitted(
        self, key: ApiKey | None, model: str, answers: int, expected_tokens: int
    ) -> AsyncIterator[dict[str, str]]:
        """Count a request while it is served; yield the `x-ratelimit-*` headers of its answer.

        Without a key there is no limit. Once admitted, a request's `expected_tokens` count until
        `count_tokens` is told what it took.

        Raises:
            ModelNotAllowed, BudgetSpent, RateLimited: with the seconds until it may be asked again.
            KeyRefused: the key was revoked or has expired meanwhile; the body is cancelled.
        """
        if key is None:
            yield {}
            return
        self._check(key, model, answers)
        at_once = answers if key.max_parallel is not None else 0
        self.counts.answers.add(key.id, at_once)  # before anything is waited for
        try:
            async with self._keys.while_good(key):
                yield await self._count_request(key, expected_tokens)
        finally:
            self.counts.answers.add(key.id, -at_once)

    def count_tokens(self, key: ApiKey, tokens: int, expected_tokens: int) -> None:
        """Count the tokens of an answer that has ended for the minute, in place of the expected.

        Those of the month are the key ring's, and should count there before.
        """
        if not key.counts_tokens:
            return
        running = self.counts.tokens
        running.add(key.id, -expected_tokens)
        if (limit := key.tokens_per_minute) is not None and tokens:
            running.add(key.id, tokens)  # until Redis has them
            self._rates.add("tokens", key.id, limit, tokens, lambda: running.add(key.id, -tokens))

    def _check(self, key: ApiKey, model: str, answers: int) -> None:
        if not key.may_ask(model):
            raise ModelNotAllowed(model)
        budget = key.monthly_tokens
        if budget is not None and self._keys.tokens_this_month(key) >= budget:
            raise BudgetSpent(budget, seconds_to_next_month(self._clock()))
        limit = key.max_parallel
        if limit is not None and self.counts.answers.of(key.id) + answers > limit:
            raise RateLimited("answers at once", limit, _RUNNING_RETRY_S)

    async def _count_request(self, key: ApiKey, expected_tokens: int) -> dict[str, str]:
        headers: dict[str, str] = {}
        if (limit := key.tokens_per_minute) is not None:
            tokens = await self._rates.count("tokens", key.id, limit, 0)
            if not tokens.remaining:
                raise _refusal("tokens", tokens, _told("tokens", tokens))
            headers |= self._check_running(key, "tokens per minute", tokens)
        if (limit := key.monthly_tokens) is not None:
            used = self._keys.tokens_this_month(key)
            self._check_running(key, "tokens this month", Rate(limit, used, 0.0))
        if key.counts_tokens:  # and nothing was waited for since they were looked at
            self.counts.tokens.add(key.id, expected_tokens)
        try:
            if (limit := key.requests_per_minute) is not None:
                requests = await self._rates.count("requests", key.id, limit, 1)
                headers |= _told("requests", requests)
                if requests.used > limit:
                    raise _refusal("requests", requests, headers)
        except BaseException:
            self.count_tokens(key, 0, expected_tokens)
            raise
        return headers

    def _check_running(self, key: ApiKey, what: str, tokens: Rate) -> dict[str, str]:
        """Return headers that tell what is left beside what runs. Raises: RateLimited."""
        if not (running := self.counts.tokens.of(key.id)):
            return _told("tokens", tokens)
        expected = replace(
            tokens, used=tokens.used + running, reset_s=tokens.reset_s or _RUNNING_RETRY_S
        )
        headers = _told("tokens", expected)
        if not expected.remaining:
            why = "the requests that run are expected to use them"
            refused = RateLimited(what, tokens.limit, _RUNNING_RETRY_S, why)
            refused.headers = {**refused.headers, **headers}
            raise refused
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
