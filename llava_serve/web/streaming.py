"""Answers that stream at the same time: their tasks, their place in the line, how they stop."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from llava_serve import logs, serving
from llava_serve.client import ChatClient
from llava_serve.errors import CannotContinue, EngineFailure, RemoteError, ServeError
from llava_serve.web.answer import Answer, State

logger = logging.getLogger(__name__)

CONTINUES = "continue_final_message"


@dataclass(frozen=True)
class Job:
    """An answer to fill, and the body of the request that asks for it."""

    answer: Answer
    body: dict[str, Any]


class Streaming:
    """The handle of a set of running answers."""

    def __init__(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        self._tasks = tasks
        self.reason: ServeError | None = None

    def stop(self, reason: ServeError | None = None) -> None:
        """Close every stream; the workers behind them become free.

        With a reason the answers have failed by it; without one the user has stopped them.
        """
        self.reason = self.reason or reason
        for task in self._tasks:
            task.cancel()

    async def ended(self, interval_s: float) -> AsyncGenerator[None]:
        """Yield at intervals until every answer has ended."""
        left: set[asyncio.Task[None]] = set(self._tasks)
        while left:
            _, left = await asyncio.wait(left, timeout=interval_s)
            if left:
                yield


class Place:
    """One place among the questions that are answered at once, shared by a question's answers."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._entering = asyncio.Lock()
        self._users = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        async with self._entering:
            if self._users == 0:
                await self._places.acquire()
            self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self._places.release()


@asynccontextmanager
async def streaming(
    client: ChatClient, jobs: Sequence[Job], place: Place, on_change: Callable[[], None]
) -> AsyncIterator[Streaming]:
    """Fill every job's answer at once; leaving the block ends all that still runs."""
    tasks = [
        asyncio.create_task(_fill(client, job, place, on_change), name="answer") for job in jobs
    ]
    running = Streaming(tasks)
    try:
        yield running
    finally:
        running.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in jobs:
            if job.answer.is_open:
                state: State = "stopped" if running.reason is None else "failed"
                job.answer.end(state, time.monotonic(), running.reason)


async def _fill(client: ChatClient, job: Job, place: Place, on_change: Callable[[], None]) -> None:
    """Fill one answer; one that is cancelled stays open, for whoever knows why it was."""
    answer = job.answer
    logs.request_id.set(answer.request_id)
    try:
        async with place.taken():
            answer.begin(time.monotonic())
            logs.request_id.set(answer.request_id)
            async with aclosing(client.stream(job.body, answer.request_id)) as chunks:
                async for chunk in chunks:
                    answer.take(chunk, time.monotonic())
                    on_change()
        answer.end("done", time.monotonic())
    except ServeError as exc:
        serving.log_error(exc)
        answer.end("failed", time.monotonic(), _in_our_words(exc, job))
    except Exception:
        logger.exception("an answer failed")
        failure = EngineFailure("the page failed in mid-answer; the cause is in its log")
        answer.end("failed", time.monotonic(), failure)
    finally:
        on_change()


def _in_our_words(error: ServeError, job: Job) -> ServeError:
    """Say what a refusal by the field's name means to a user, who has sent no field."""
    if CONTINUES in job.body and isinstance(error, RemoteError) and CONTINUES in error.message:
        return CannotContinue(job.answer.model)
    return error
