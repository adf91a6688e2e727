"""Threads that decode, off the event loop; who leaves keeps his place until his thread is free."""

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

Clock = Callable[[], float]
Result = TypeVar("Result")


class DecoderPool:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="media")

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def run(self, work: Callable[[Clock], Result]) -> Result:
        """Run `work` and return its result or raise what it raises.

        Its memory is in use until it ends, so a cancelled caller waits for that. The clock it gets
        is monotonic, and far beyond every deadline once nobody wants the result any more.
        """
        left = threading.Event()
        job = self._pool.submit(work, lambda: math.inf if left.is_set() else time.monotonic())
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
