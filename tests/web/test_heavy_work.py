"""So much is done at once, and what nobody waits for any more ends."""

import asyncio
import threading
from functools import partial

from llava_serve.web.heavy_work import GoOn, HeavyWork
from tests.until import LIMIT_S, until


async def test_so_much_is_done_at_once_and_the_rest_waits() -> None:
    heavy, may_end = HeavyWork(2), threading.Event()
    begun = list[int]()

    def work(number: int, _: GoOn) -> int:
        begun.append(number)
        may_end.wait(LIMIT_S)
        return number

    running = [asyncio.create_task(heavy.run(partial(work, number))) for number in range(4)]
    await until(lambda: len(begun) == 2, "the first two")
    running[2].cancel()
    await asyncio.wait({running[2]})
    may_end.set()
    assert await asyncio.gather(*running[:2], running[3]) == [0, 1, 3]
    assert sorted(begun) == [0, 1, 3]


async def test_what_nobody_waits_for_ends_and_leaves_its_place() -> None:
    heavy = HeavyWork(1)
    is_running, has_left, parts = threading.Event(), threading.Event(), list[str]()

    def work(go_on: GoOn) -> None:
        is_running.set()
        has_left.wait(LIMIT_S)
        go_on()
        parts.append("written for nobody")

    leaving = asyncio.create_task(heavy.run(work))
    await asyncio.to_thread(is_running.wait, LIMIT_S)
    leaving.cancel()
    await asyncio.wait({leaving})
    has_left.set()
    assert await heavy.run(lambda _: "the next") == "the next"
    assert parts == []
