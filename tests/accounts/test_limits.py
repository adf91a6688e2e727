"""A key gets what it may have, and is told when there is more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.limits import KeyLimits
from llava_serve.accounts.rates import Rates
from llava_serve.api_key import ApiKey
from llava_serve.errors import BudgetSpent, ModelNotAllowed, RateLimited
from tests.accounts.conftest import Clock
from tests.redis_server import RedisServer
from tests.until import until


def key(**limits: int) -> ApiKey:
    return ApiKey(id="k", name="alice", **limits)  # type: ignore[arg-type]


@pytest.fixture
def limits(ring: KeyRing, clock: Clock) -> KeyLimits:
    return KeyLimits(ring, clock=clock)


async def ask(limits: KeyLimits, one: ApiKey | None, model: str = "m") -> dict[str, str]:
    async with limits.admitted(one, model, 1, 0) as headers:
        return headers


async def test_without_a_key_and_without_limits_nothing_is_counted(limits: KeyLimits) -> None:
    assert await ask(limits, None) == await ask(limits, key()) == {}


async def test_a_model_that_is_not_the_keys_is_refused(limits: KeyLimits) -> None:
    one = ApiKey(id="k", name="alice", models=("m",))
    assert await ask(limits, one) == {}
    with pytest.raises(ModelNotAllowed, match="'n'"):
        await ask(limits, one, "n")


async def test_requests_in_a_minute_are_counted_and_told(limits: KeyLimits) -> None:
    two = key(requests_per_minute=2)
    headers = await ask(limits, two)
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "1"
    assert 0 < float(headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60
    await ask(limits, two)
    with pytest.raises(RateLimited, match="2 requests per minute") as refused:
        await ask(limits, two)
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60
    assert refused.value.headers["x-ratelimit-remaining-requests"] == "0"
    await ask(limits, ApiKey(id="other", name="bob", requests_per_minute=2))


async def test_tokens_count_at_the_end_of_an_answer(limits: KeyLimits) -> None:
    hundred = key(tokens_per_minute=100)
    await ask(limits, hundred)
    limits.count_tokens(hundred, 99, 0)
    assert (await ask(limits, hundred))["x-ratelimit-remaining-tokens"] == "1"
    limits.count_tokens(hundred, 500, 0)
    with pytest.raises(RateLimited, match="100 tokens per minute") as refused:
        await ask(limits, hundred)
    assert refused.value.headers["x-ratelimit-limit-tokens"] == "100"


@asynccontextmanager
async def running(limits: KeyLimits, one: ApiKey, expected: int, took: int) -> AsyncIterator[None]:
    """A request that is expected to take some tokens, and takes so many."""
    async with limits.admitted(one, "m", 1, expected):
        yield
    limits.count_tokens(one, took, expected)


async def test_what_runs_is_expected_to_take_of_the_minute(limits: KeyLimits) -> None:
    hundred = key(tokens_per_minute=100, requests_per_minute=10)
    async with running(limits, hundred, 60, took=5):
        assert (await ask(limits, hundred))["x-ratelimit-remaining-tokens"] == "40"
        async with running(limits, hundred, 40, took=0):
            with pytest.raises(RateLimited, match="the requests that run") as refused:
                await ask(limits, hundred)
    told = refused.value.headers
    assert (told["Retry-After"], told["x-ratelimit-remaining-tokens"]) == ("1", "0")
    assert told["x-ratelimit-reset-tokens"] == "1.000s"
    left = await ask(limits, hundred)
    assert left["x-ratelimit-remaining-tokens"] == "95"
    assert left["x-ratelimit-remaining-requests"] == "6"
    assert not limits.counts.tokens.here


async def test_what_runs_is_expected_to_take_of_the_month(limits: KeyLimits, ring: KeyRing) -> None:
    ten = key(monthly_tokens=10)
    ring.add_tokens(ten, 9)
    async with running(limits, ten, 1, took=0):
        with pytest.raises(RateLimited, match="10 tokens this month, and the requests that run"):
            await ask(limits, ten)
    await ask(limits, ten)


async def test_one_request_may_be_expected_to_take_more_than_the_limit(limits: KeyLimits) -> None:
    small = key(tokens_per_minute=100)
    async with running(limits, small, 5000, took=99):
        with pytest.raises(RateLimited):
            await ask(limits, small)
    async with running(limits, small, 5000, took=1):
        pass
    with pytest.raises(RateLimited, match="and they are used"):
        await ask(limits, small)


async def test_a_request_that_is_refused_is_expected_to_take_nothing(limits: KeyLimits) -> None:
    one = key(tokens_per_minute=100, requests_per_minute=1)
    async with running(limits, one, 10, took=0):
        with pytest.raises(RateLimited, match="1 requests per minute"):
            async with limits.admitted(one, "m", 1, 50):
                pass
        assert limits.counts.tokens.here == {"k": 10}


async def test_what_another_controller_runs_counts(limits: KeyLimits) -> None:
    one = key(tokens_per_minute=100, max_parallel=2)
    limits.counts.answers.elsewhere = {"k": 1}
    await ask(limits, one)
    limits.counts.tokens.elsewhere = {"k": 100}
    with pytest.raises(RateLimited, match="tokens per minute"):
        await ask(limits, one)
    limits.counts.answers.elsewhere = {"k": 2}
    with pytest.raises(RateLimited, match="answers at once"):
        await ask(limits, one)


async def test_a_burst_takes_no_more_than_the_limit_and_one_request(
    redis_server: RedisServer, ring: KeyRing
) -> None:
    rates = Rates(redis_server.url)
    limits = KeyLimits(ring, rates)
    small = key(tokens_per_minute=100)
    admitted, refused, done = 0, 0, asyncio.Event()

    async def ask_and_stay() -> None:
        nonlocal admitted, refused
        try:
            async with running(limits, small, 60, took=70):
                admitted += 1
                await done.wait()
        except RateLimited:
            refused += 1

    async with rates.opened():
        async with asyncio.TaskGroup() as asking:
            for _ in range(10):
                asking.create_task(ask_and_stay())
            await until(lambda: admitted + refused == 10)
            done.set()
        assert (admitted, refused) == (2, 8)
        with pytest.raises(RateLimited):  # whether Redis has them yet or not
            await ask(limits, small)
        await until(lambda: not limits.counts.tokens.here, "what is used in Redis alone")
        with pytest.raises(RateLimited, match="and they are used"):
            await ask(limits, small)


async def test_what_is_refused_for_its_tokens_is_no_request_of_the_minute(
    limits: KeyLimits,
) -> None:
    one = key(tokens_per_minute=1, requests_per_minute=5)
    await ask(limits, one)
    limits.count_tokens(one, 1, 0)
    with pytest.raises(RateLimited):
        await ask(limits, one)
    more = key(tokens_per_minute=10, requests_per_minute=5)
    assert (await ask(limits, more))["x-ratelimit-remaining-requests"] == "3"


async def test_answers_at_once_are_counted_while_they_run(limits: KeyLimits) -> None:
    two = key(max_parallel=2)
    async with limits.admitted(two, "m", 2, 0):
        with pytest.raises(RateLimited, match="2 answers at once") as refused:
            await ask(limits, two)
        assert refused.value.headers["Retry-After"] == "1"
    await ask(limits, two)


async def test_answers_at_once_are_counted_before_redis_is_asked(
    redis_server: RedisServer, ring: KeyRing
) -> None:
    rates = Rates(redis_server.url)
    limits = KeyLimits(ring, rates)
    two = key(max_parallel=2, requests_per_minute=100)
    admitted, refused, done = 0, 0, asyncio.Event()

    async def ask_and_stay() -> None:
        nonlocal admitted, refused
        try:
            async with limits.admitted(two, "m", 1, 0):
                admitted += 1
                await done.wait()
        except RateLimited:
            refused += 1

    async with rates.opened(), asyncio.TaskGroup() as asking:
        for _ in range(10):
            asking.create_task(ask_and_stay())
        await until(lambda: admitted + refused == 10)
        done.set()
    assert (admitted, refused) == (2, 8)


async def test_an_answer_that_fails_runs_no_longer(limits: KeyLimits) -> None:
    one = key(max_parallel=1)
    with pytest.raises(ZeroDivisionError):
        async with limits.admitted(one, "m", 1, 0):
            raise ZeroDivisionError
    await ask(limits, one)


async def test_the_budget_of_a_month_ends_it_until_the_next(
    limits: KeyLimits, ring: KeyRing
) -> None:
    ten = key(monthly_tokens=10)
    await ask(limits, ten)
    ring.add_tokens(ten, 10)
    with pytest.raises(BudgetSpent, match="10 tokens") as refused:
        await ask(limits, ten)
    assert refused.value.headers["Retry-After"] == "4000"  # at 22:53:20 on the month's last day
    assert refused.value.headers["x-should-retry"] == "false"
