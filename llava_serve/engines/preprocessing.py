"""Preprocessing of prompts on threads beside the event loop, once for all answers to a prompt."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

from llava_serve.errors import ShuttingDown
from llava_serve.media.limits import give_way

Asked = TypeVar("Asked")
Result = TypeVar("Result")
Work = Callable[[Asked, threading.Event], Result]


def prompt_threads() -> ThreadPoolExecutor:
    """Return as many threads as there are processors."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="prompt")


def batch_threads() -> ThreadPoolExecutor:
    """Return one thread, of lower priority: what it prepares nobody waits for."""
    return ThreadPoolExecutor(1, thread_name_prefix="batch-prompt", initializer=give_way)


@dataclass(eq=False)
class _Running(Generic[Result]):
    result: asyncio.Future[Result]
    stopped: threading.Event
    waiting: int = 0


class PreprocessingPool(Generic[Asked, Result]):
    """Threads that run `work`, which may block and must be safe to call from any thread.

    It gets a prompt or what has one, and an event that is set once nobody waits for the result any
    more. There are no more threads than processors, because each prompt takes memory; pools whose
    requests may wait for each other share them.
    """

    def __init__(
        self, work: Work[Asked, Result], threads: ThreadPoolExecutor | None = None
    ) -> None:
        self._work = work
        self._is_closed = False
        self._pool = threads or prompt_threads()
        # By identity: several answers share one prompt, which lives as long as its work.
        self._under_way: dict[int, _Running[Result]] = {}

    async def run(self, prompt: Asked) -> Result:
        """Return the result for `prompt`, or raise what the work raises.

        A caller that is cancelled returns when its thread is free.

        Raises:
            ShuttingDown: the threads have ended.
        """
        if self._is_closed:
            raise ShuttingDown
        running = self._under_way.get(id(prompt)) or self._started(prompt)
        running.waiting += 1
        working = running.result
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            running.waiting -= 1
            if not running.waiting:
                running.stopped.set()
            while not working.done():
                with suppress(asyncio.CancelledError):  # told twice to leave
                    await asyncio.wait([working])
            working.exception()  # seen: nobody waits for it any more
            raise

    def _started(self, prompt: Asked) -> _Running[Result]:
        key, stopped = id(prompt), threading.Event()
        result = asyncio.get_running_loop().run_in_executor(
            self._pool, copy_context().run, self._work, prompt, stopped
        )
        result.add_done_callback(lambda _: self._under_way.pop(key))
        self._under_way[key] = _Running(result, stopped)
        return self._under_way[key]

    def close(self) -> None:
        """End the threads; nobody may be waiting for one."""
        self._is_closed = True
        self._pool.shutdown()
