"""What is shared is given out in order, comes back, and is never lost with a waiter who leaves."""

import asyncio

from llava_serve.quota import Quota


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_does_not_fit_waits_until_there_is_room() -> None:
    quota = Quota(10)
    await quota.acquire(6)
    waiter = asyncio.create_task(quota.acquire(5))
    await settled()
    assert not waiter.done()
    quota.release(6)
    await waiter
    assert quota.held == 5


async def test_nobody_overtakes_who_came_first() -> None:
    quota = Quota(10)
    await quota.acquire(6)
    large = asyncio.create_task(quota.acquire(8))
    await settled()
    small = asyncio.create_task(quota.acquire(1))
    await settled()
    assert not small.done()
    quota.release(6)
    await asyncio.gather(large, small)
    assert quota.held == 9


async def test_more_than_there_is_runs_alone() -> None:
    quota = Quota(10)
    await quota.acquire(1)
    huge = asyncio.create_task(quota.acquire(100))
    await settled()
    assert not huge.done()
    quota.release(1)
    await huge
    quota.release(100)
    assert quota.held == 0


async def test_a_waiter_who_leaves_makes_room_for_those_behind() -> None:
    quota = Quota(10)
    await quota.acquire(6)
    large = asyncio.create_task(quota.acquire(8))
    await settled()
    small = asyncio.create_task(quota.acquire(4))
    await settled()
    large.cancel()
    await small
    assert (quota.held, quota.waiting) == (10, 0)


async def test_a_waiter_who_leaves_as_its_turn_comes_holds_nothing() -> None:
    quota = Quota(10)
    await quota.acquire(10)
    waiter = asyncio.create_task(quota.acquire(5))
    await settled()
    quota.release(10)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert quota.held == 0


async def test_a_waiter_who_is_passed_over_as_it_leaves_disturbs_nobody() -> None:
    quota = Quota(10)
    await quota.acquire(10)
    leaving = asyncio.create_task(quota.acquire(5))
    await settled()
    leaving.cancel()
    quota.release(10)  # before the one who leaves has heard of it
    assert isinstance((await asyncio.gather(leaving, return_exceptions=True))[0], BaseException)
    assert leaving.cancelled()
    assert (quota.held, quota.waiting) == (0, 0)


async def test_a_part_comes_back_however_the_body_ends() -> None:
    quota = Quota(10)
    try:
        async with quota.part(7):
            raise ValueError
    except ValueError:
        pass
    assert quota.held == 0


async def test_who_asks_for_nothing_waits_for_nobody() -> None:
    quota = Quota(10)
    await quota.acquire(10)
    waiting = asyncio.create_task(quota.acquire(5))
    await asyncio.sleep(0)
    async with asyncio.timeout(5), quota.part(0):
        assert not waiting.done()
    quota.release(10)
    await waiting
    assert quota.held == 5
