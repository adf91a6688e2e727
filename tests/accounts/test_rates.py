"""Rates are counted together in Redis, and go on without it."""

import asyncio
import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from limits import RateLimitItemPerSecond
from redis.asyncio import Redis

from llava_serve.accounts.rates import Rate, Rates
from tests.redis_server import RedisServer, running_redis
from tests.until import LIMIT_S, bounded


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def slow_redis(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """A Redis that counts as away only when it is: a slow machine may take longer than others."""
    monkeypatch.setattr("llava_serve.accounts.rates._ANSWER_S", LIMIT_S)
    return redis


async def used(rates: Rates, amount: int = 1) -> int:
    return (await rates.count("requests", "k", 10, amount)).used


@pytest.mark.parametrize(("count", "remaining"), [(0, 3), (3, 0), (7, 0)])
def test_less_than_nothing_is_never_left(count: int, remaining: int) -> None:
    assert Rate(3, count, 1.0).remaining == remaining


async def test_memory_counts_for_each_key_and_kind_alone() -> None:
    rates = Rates()
    assert [await used(rates), await used(rates, 5), await used(rates, 0)] == [1, 6, 6]
    assert (await rates.count("tokens", "k", 10, 1)).used == 1
    assert (await rates.count("requests", "other", 10, 1)).used == 1


async def test_a_window_ends_and_begins_with_its_first_count() -> None:
    rates = Rates(window_s=1)
    assert (await rates.count("requests", "k", 10, 1)).reset_s <= 1
    async with bounded("the end of the window"):
        for _ in itertools.count():
            if not await used(rates, 0):
                break
            await asyncio.sleep(0.01)
    assert await used(rates) == 1


async def test_memory_begins_a_window_anew_when_it_has_ended() -> None:
    now = 100.0
    rates = Rates(clock=lambda: now)
    assert await rates.count("requests", "k", 10, 4) == Rate(10, 4, 60.0)
    now = 159.5
    assert await rates.count("requests", "k", 10, 1) == Rate(10, 5, 0.5)
    now = 160.0
    assert await rates.count("requests", "k", 10, 0) == Rate(10, 0, 0.0)
    assert await rates.count("requests", "k", 10, 1) == Rate(10, 1, 60.0)


async def test_what_is_added_counts_at_once_in_memory_and_soon_in_redis(
    slow_redis: RedisServer,
) -> None:
    alone = Rates()
    alone.add("requests", "k", 10, 3, lambda: None)
    assert await used(alone, 0) == 3
    one, other = Rates(slow_redis.url), Rates(slow_redis.url)
    async with one.opened(), other.opened(), bounded("the count in Redis"):
        one.add("requests", "k", 10, 3, lambda: None)
        for _ in itertools.count():
            if await used(other, 0) == 3:
                break
            await asyncio.sleep(0.01)


async def test_two_controllers_count_together(slow_redis: RedisServer) -> None:
    one, other = Rates(slow_redis.url), Rates(slow_redis.url)
    async with one.opened(), other.opened():
        assert [await used(one), await used(other), await used(one, 0)] == [1, 2, 2]
        assert 0 < (await other.count("requests", "k", 10, 0)).reset_s <= 60


@pytest.mark.parametrize("value", ["many", "1.5"])
async def test_what_is_no_number_in_redis_counts_as_redis_away(
    redis: RedisServer, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    item = RateLimitItemPerSecond(10, 60)
    async with Redis.from_url(redis.url) as client:
        await client.set(f"llava:limits:{item.key_for('requests', 'k')}", value)
    for amount in (0, 1):
        rates = Rates(redis.url)
        async with rates.opened():
            assert await used(rates, amount) == amount
    assert caplog.text.count("limits count in this process alone") == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_while_redis_is_away_each_counts_on_from_what_it_knows(
    redis: RedisServer, how: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    one, other = Rates(redis.url, clock=lambda: now), Rates(redis.url)
    async with one.opened(), other.opened():
        await used(other, 5)
        assert await used(one) == 6
        redis.send(how)
        assert [await used(one), await used(one)] == [2, 3]
        assert caplog.text.count("limits count in this process alone") == 1
        if how is signal.SIGKILL:
            redis.start()
        else:
            redis.send(signal.SIGCONT)
        assert await used(one) == 4  # it is not asked again at once
        now = 60.0
        # What was sent to a Redis that was stopped counts once it runs on.
        assert await used(one, 0) in ((0,) if how is signal.SIGKILL else (6, 7))


def test_an_unknown_host_is_away_and_no_failure(tmp_path: Path) -> None:
    async def count() -> int:
        rates = Rates(f"unix://{tmp_path}/none.sock")
        async with rates.opened():
            return await used(rates)

    assert asyncio.run(count()) == 1
