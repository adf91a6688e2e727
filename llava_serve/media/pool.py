"""Threads that decode, off the event loop; who leaves keeps his place until his thread is free."""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

Clock = Callable[[], float]
Result = TypeVar("Result")


_SLOW_NICENESS = 10  # the engine and ordinary pictures come first


class DecoderPool:
    """Threads for ordinary media, and fewer of lower priority for slow ones: see `Cost`."""

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(min(4, cores), thread_name_prefix="media")
        self._slow = ThreadPoolExecutor(
            max(1, min(4, cores) - 1), thread_name_prefix="slow-media", initializer=_give_way
        )

    async def close(self) -> None:
        for pool in (self._pool, self._slow):
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def run(self, work: Callable[[Clock], Result], is_slow: bool = False) -> Result:
        """Run `work` and return its result or raise what it raises.

        Its memory is in use until it ends, so a cancelled caller waits for that. The clock it gets
        is monotonic, and far beyond every deadline once nobody wants the result any more.
        """
        left = threading.Event()
        job = (self._slow if is_slow else self._pool).submit(
            work, lambda: math.inf if left.is_set() else time.monotonic()
        )
        waiting = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            left.set()
            if not job.cancel():
                while not waiting.done():
                    with suppress(asyncio.CancelledError):  # told twice to leave
                        await asyncio.wait([waiting])
                waiting.exception()  # seen: nobody waits for it any more
            raise


def _give_way() -> None:
    """Lower the priority of this thread alone, which Linux can do."""
    if sys.platform == "linux":
        os.nice(_SLOW_NICENESS)
