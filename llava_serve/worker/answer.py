"""One answer in the making: its slot, its media, its engine stream, and a client who may leave."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
)
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from llava_serve import logs
from llava_serve.errors import ReaderTooSlow, ServeError
from llava_serve.media.limits import PixelReservation
from llava_serve.request import (
    Conversation,
    Delta,
    GenerateRequest,
    ReadyPrompt,
    SamplingParams,
    Stages,
    Usage,
)
from llava_serve.worker.worker import Worker

ReadPrompt = Callable[[PixelReservation], Awaitable[Conversation | ReadyPrompt]]


MOST_UNREAD = 8192  # deltas that are kept for a client that does not read


class Answer:
    """Made in a task of its own, so that its reader can lose patience without stopping it.

    A reader that is slow holds no slot: the engine never waits for it. A reader that leaves stops
    the work; its slot is free when the engine has stopped, not before.
    """

    def __init__(
        self, worker: Worker, read_prompt: ReadPrompt, sampling: SamplingParams, count: int = 1
    ) -> None:
        """Make `count` answers to the same prompt, each with a seed of its own."""
        self.request_id = logs.request_id.get()
        self.first_text_s: float | None = None  # since the request arrived
        self.timings: dict[str, float | None] = {}  # complete with the last delta
        self._worker = worker
        self._read_prompt = read_prompt
        self.with_logprobs = sampling.top_logprobs is not None
        self._samplings = [_seeded(sampling, i) for i in range(count)]
        self._usage: Usage | None = None  # of the answers that have ended
        self._open = count
        self._admitted_s = 0.0
        self._begun = worker.clock()
        self._cancelled_at: float | None = None
        self._deltas: asyncio.Queue[Delta | None] = asyncio.Queue()  # None: the end

    @property
    def elapsed_s(self) -> float:
        return self._worker.clock() - self._begun

    @asynccontextmanager
    async def in_making(self, receive: Receive) -> AsyncIterator[None]:
        """Make the answer while the body reads it; leaving the body early stops the work."""
        self._making = asyncio.create_task(self._make(), name="answer")
        self._making.add_done_callback(lambda _: self._deltas.put_nowait(None))
        watching = asyncio.create_task(self._watch(receive), name="watch-client")
        try:
            yield
        finally:
            self._cancel()
            watching.cancel()
            await asyncio.wait([self._making, watching])
            if not self._making.cancelled():
                self._making.exception()  # seen: the body raised it, or has its own reason

    async def read(self, patience_s: float | None = None) -> AsyncGenerator[Delta | None]:
        """Yield deltas, and None after each `patience_s` without one.

        Raises:
            ClientDisconnect: the client has left; there is nobody to answer.
            ServeError: what ended the answer before its time.
        """
        while True:
            try:
                delta = await asyncio.wait_for(self._deltas.get(), patience_s)
            except asyncio.TimeoutError:
                yield None
                continue
            if delta is None:
                break
            yield delta
        if self._making.cancelled():
            raise ClientDisconnect
        self._making.result()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._cancel()

    def _cancel(self) -> None:
        if not self._making.done() and self._cancelled_at is None:
            self._cancelled_at = self._worker.clock()
            self._making.cancel()

    async def _make(self) -> None:
        metrics, outcome = self._worker.metrics, "failed"
        try:
            async with (
                self._worker.gate.slots(len(self._samplings)) as slots,
                self._worker.media.reservation() as reservation,
            ):
                self._admitted_s = self.elapsed_s
                prompt = await self._read_prompt(reservation)
                media_s = self.elapsed_s - self._admitted_s
                self.timings = {"queue_s": self._admitted_s, "media_s": media_s}
                free = asyncio.Semaphore(slots)
                await run_together(
                    self._stream(i, prompt, sampling, free)
                    for i, sampling in enumerate(self._samplings)
                )
            outcome = "completed"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except ServeError as exc:
            outcome = exc.code
            raise
        finally:
            metrics.finished(outcome)
            if self._cancelled_at is not None:
                metrics.cancelled(self._worker.clock() - self._cancelled_at)

    async def _stream(
        self,
        index: int,
        prompt: Conversation | ReadyPrompt,
        sampling: SamplingParams,
        free: asyncio.Semaphore,
    ) -> None:
        request = GenerateRequest(request_id=self.request_id, prompt=prompt, sampling=sampling)
        async with free, aclosing(self._worker.engine.stream(request)) as deltas:
            async for delta in deltas:
                if delta.usage is not None:
                    self._open -= 1
                    self._usage = _added(self._usage, delta.usage)
                usage = self._usage if delta.usage is not None and not self._open else None
                if delta.stages is not None and delta.usage is not None:
                    self._add(delta.stages, delta.usage)
                so_far = delta.usage or delta.so_far
                own = replace(delta, index=index, usage=usage, so_far=so_far)
                self._note(own)
                self._deltas.put_nowait(own)
                if self._deltas.qsize() > MOST_UNREAD:
                    raise ReaderTooSlow

    def _note(self, delta: Delta) -> None:
        if delta.text and self.first_text_s is None:
            self.first_text_s = self.elapsed_s
            self._worker.metrics.first_text(self.first_text_s)
        if delta.usage is None:
            return
        self.timings |= {"first_token_s": self.first_text_s, "total_s": self.elapsed_s}
        self._worker.metrics.counted(delta.usage)
        self._worker.metrics.timed(self.timings)

    def _add(self, stages: Stages, usage: Usage) -> None:
        decoded = usage.completion_tokens - 1
        self.timings |= {
            "queue_s": self._admitted_s + stages.queue_s,
            "vision_s": stages.vision_s,
            "prefill_s": stages.prefill_s,
            "decode_tokens_per_s": decoded / stages.decode_s if decoded > 0 else None,
        }


async def run_together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all; when one fails or this is cancelled, stop the others and wait until they have."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _seeded(sampling: SamplingParams, index: int) -> SamplingParams:
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + index)


def _added(total: Usage | None, usage: Usage) -> Usage:
    """Count the tokens of all answers, and the prompt they share once."""
    if total is None:
        return usage
    return replace(
        total,
        completion_tokens=total.completion_tokens + usage.completion_tokens,
        cached_tokens=min(total.cached_tokens, usage.cached_tokens),
    )
