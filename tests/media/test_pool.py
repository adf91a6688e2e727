"""Whoever leaves while a thread decodes for him waits for the thread, which is told to hurry."""

import asyncio
import math
import os
import sys
import threading

import pytest

from llava_serve.media.pool import Clock, DecoderPool


async def test_the_result_and_the_error_of_the_work_come_back() -> None:
    pool = DecoderPool()
    assert await pool.run(lambda clock: clock() < math.inf)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda _: 1 // 0)
    await pool.close()


async def test_who_leaves_waits_for_his_thread_whose_clock_runs_out() -> None:
    pool, begun, ended = DecoderPool(), threading.Event(), threading.Event()

    def work(clock: Clock) -> None:
        begun.set()
        while clock() < math.inf:
            pass
        ended.set()

    task = asyncio.create_task(pool.run(work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    await pool.close()


async def test_work_that_has_not_begun_is_not_done_for_who_has_left() -> None:
    pool, go = DecoderPool(), threading.Event()
    busy = [asyncio.create_task(pool.run(lambda _: go.wait())) for _ in range(8)]
    done: list[bool] = []
    task = asyncio.create_task(pool.run(lambda _: done.append(True)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.gather(*busy)
    assert not done
    await pool.close()


async def test_ordinary_media_do_not_wait_for_slow_ones() -> None:
    pool, go = DecoderPool(), threading.Event()
    busy = [asyncio.create_task(pool.run(lambda _: go.wait(), is_slow=True)) for _ in range(8)]
    await asyncio.sleep(0)
    assert await pool.run(lambda _: "decoded") == "decoded"
    go.set()
    assert all(await asyncio.gather(*busy))
    await pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_slow_media_are_decoded_at_a_lower_priority() -> None:
    def niceness(_: Clock) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    pool = DecoderPool()
    ordinary, slow = await pool.run(niceness), await pool.run(niceness, is_slow=True)
    assert ordinary == os.getpriority(os.PRIO_PROCESS, 0)
    assert slow == min(19, ordinary + 10)
    await pool.close()
