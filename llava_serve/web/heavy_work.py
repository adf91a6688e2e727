"""Heavy work: pages that are written from many files, so many at once, in threads of their own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")
GoOn = Callable[[], None]
"""To be called between two parts of a work: it raises where nobody waits for the work any more."""


class HeavyWork:
    """Of what its callers wait for so much is done `at_once`; the rest waits."""

    def __init__(self, at_once: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="heavy")

    async def run(self, work: Callable[[GoOn], Result]) -> Result:
        """Return what `work` returns, or raise what it raises.

        Where the caller is cancelled it ends with its next call of `go_on`, and until then takes
        the place of another.
        """
        left = threading.Event()

        def go_on() -> None:
            if left.is_set():
                raise CancelledError

        loop, context = asyncio.get_running_loop(), copy_context()  # it has the language
        try:
            return await loop.run_in_executor(self._threads, context.run, work, go_on)
        except asyncio.CancelledError:
            left.set()
            raise
