"""Answers that stream at the same time: their tasks, and how they stop."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from llava_serve import logs
from llava_serve.client import ChatClient
from llava_serve.errors import CannotContinue, EngineFailure, RemoteError, ServeError
from llava_serve.http import serving
from llava_serve.web.answer import Answer, State

logger = logging.getLogger(__name__)

CONTINUES = "continue_final_message"


@dataclass(frozen=True)
class Job:
    """An answer to fill, and the body of the request that asks for it."""

    answer: Answer
    body: dict[str, Any]


class Streaming:
    """The handle of a question's answers, from its place in the line to their end."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task
        self._is_stopped = False
        self.reason: ServeError | None = None

    def stop(self, reason: ServeError | None = None) -> None:
        """Close every stream; the workers behind them become free.

        With a reason the answers have failed by it; without one the user has stopped them. Only
        the first stop counts: a second one would break off what the first has begun to close.
        """
        if not self._is_stopped:
            self._is_stopped, self.reason = True, reason
            self._task.cancel()

    async def ended(self, interval_s: float) -> AsyncGenerator[None]:
        """Yield at intervals until every answer has ended; raises what the work has raised."""
        while not self._task.done():
            await asyncio.wait({self._task}, timeout=interval_s)
            if not self._task.done():
                yield
        if not self._task.cancelled():
            self._task.result()


@asynccontextmanager
async def streaming(
    work: Coroutine[Any, Any, None], answers: Sequence[Answer]
) -> AsyncIterator[Streaming]:
    """Run the work that fills answers; leaving the block stops it and ends what it left open."""
    task = asyncio.create_task(work, name="question")
    running = Streaming(task)
    try:
        yield running
    finally:
        running.stop()
        await asyncio.wait({task})
        if task.cancelled():
            state: State = "stopped" if running.reason is None else "failed"
            for answer in answers:
                if answer.is_open:
                    answer.end(state, time.monotonic(), running.reason)


async def fill(client: ChatClient, jobs: Sequence[Job], on_change: Callable[[], None]) -> None:
    """Fill every job's answer, all at once."""
    filling = [asyncio.create_task(_fill(client, job, on_change), name="answer") for job in jobs]
    # It waits for all of them; without `return_exceptions` a stop would leave some unfinished.
    await asyncio.gather(*filling, return_exceptions=True)


async def _fill(client: ChatClient, job: Job, on_change: Callable[[], None]) -> None:
    """Fill one answer; one that is cancelled stays open, for whoever knows why it was."""
    answer = job.answer
    logs.request_id.set(answer.request_id)
    try:
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
