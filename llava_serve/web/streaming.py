"""Answers that stream at the same time: their tasks, their pace, and how they are stopped."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from llava_serve import logs, serving
from llava_serve.client import ChatClient
from llava_serve.errors import EngineFailure, ServeError
from llava_serve.web.answer import Answer

logger = logging.getLogger(__name__)

INTERVAL_S = 0.05  # at most 20 updates a second
_QUIET_S = 1.0  # an update at least this often, so that a browser that left is noticed
_SHARE = 4  # rest this many times longer than an update took to draw


@dataclass(frozen=True)
class Job:
    """An answer to fill, and the body of the request that asks for it."""

    answer: Answer
    body: dict[str, Any]


class Streaming:
    """The handle of a set of running answers."""

    def __init__(self, tasks: Sequence[asyncio.Task[None]], changed: asyncio.Event) -> None:
        self._tasks = tasks
        self._changed = changed

    def stop(self) -> None:
        """Close every stream; the workers behind them become free."""
        for task in self._tasks:
            task.cancel()

    async def updates(self) -> AsyncGenerator[None]:
        """Yield whenever something changed, merged to a bearable pace, until all have ended.

        A change is never lost: the answers hold all that arrived, whoever looks.
        """
        while not all(task.done() for task in self._tasks):
            with suppress(asyncio.TimeoutError):  # silence: the waiting time shown still moves
                await asyncio.wait_for(self._changed.wait(), _QUIET_S)
            self._changed.clear()
            began = time.monotonic()
            yield
            drawing_s = time.monotonic() - began
            await asyncio.sleep(max(INTERVAL_S, _SHARE * drawing_s))


@asynccontextmanager
async def streaming(client: ChatClient, jobs: Sequence[Job]) -> AsyncIterator[Streaming]:
    """Fill every job's answer at once; leaving the block ends all that still runs."""
    changed = asyncio.Event()
    tasks = [asyncio.create_task(_fill(client, job, changed), name="answer") for job in jobs]
    running = Streaming(tasks, changed)
    try:
        yield running
    finally:
        running.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in jobs:  # a task that was stopped before its first step marked nothing
            if job.answer.is_open:
                job.answer.end("stopped", time.monotonic())


async def _fill(client: ChatClient, job: Job, changed: asyncio.Event) -> None:
    answer = job.answer
    answer.begin(time.monotonic())
    logs.request_id.set(answer.request_id)
    try:
        async with aclosing(client.stream(job.body, answer.request_id)) as chunks:
            async for chunk in chunks:
                answer.take(chunk, time.monotonic())
                changed.set()
        answer.end("done", time.monotonic())
    except ServeError as exc:
        serving.log_error(exc)
        answer.end("failed", time.monotonic(), exc)
    except Exception:
        logger.exception("an answer failed")
        failure = EngineFailure("the page failed in mid-answer; the cause is in its log")
        answer.end("failed", time.monotonic(), failure)
    finally:
        if answer.is_open:
            answer.end("stopped", time.monotonic())
        changed.set()
