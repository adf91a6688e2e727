"""Generation of one request: its slots, its media, its engine streams, a client who may leave."""

import asyncio
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
)
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from llava_serve import logs
from llava_serve.background import background, gather_or_cancel
from llava_serve.errors import ReaderTooSlow, ServeError
from llava_serve.http.disconnect import client_left
from llava_serve.media.limits import PixelReservation
from llava_serve.request import (
    Conversation,
    Delta,
    FinishReason,
    GenerateRequest,
    ReadyPrompt,
    SamplingParams,
    Stages,
    Usage,
)
from llava_serve.tracing import span
from llava_serve.worker import generation_trace
from llava_serve.worker.usage import UsageTally
from llava_serve.worker.worker import ModelWorker

Prompts = Conversation | ReadyPrompt | tuple[ReadyPrompt, ...]
ReadPrompt = Callable[[PixelReservation], Awaitable[Prompts]]
MAX_UNREAD_DELTAS = 8192  # kept for a client that does not read


class Generation:
    """Runs in a task of its own, so a response can stop waiting for it without cancelling it.

    A slow client holds no slot: the engine never waits for it. When the client leaves, the task is
    cancelled; the slot is free once the engine has stopped, not before.
    """

    def __init__(  # noqa: PLR0913 - each has a default that stands for most
        self,
        worker: ModelWorker,
        read_prompt: ReadPrompt,
        sampling: SamplingParams,
        count: int = 1,
        resumed: tuple[int, ...] = (),
        prompts: int = 1,
    ) -> None:
        """Generate `count` answers to each of so many `prompts`, those to one in a row.

        Each answer to a prompt has a seed of its own, and goes on behind the tokens `resumed`.
        """
        self.request_id = logs.request_id.get()
        self.tally: UsageTally | None = None  # where a controller asks for the usage
        self.is_batch = False  # of which nobody waits for the answer
        self.first_text_s: float | None = None  # since the request arrived
        self.timings: dict[str, float | None] = {}  # complete with the last delta
        self._worker = worker
        self._read_prompt = read_prompt
        self.with_logprobs = sampling.top_logprobs is not None
        self._samplings = [_seeded(sampling, i) for i in range(count)]
        self._resumed = resumed
        self._usages: dict[int, Usage] = {}  # by prompt, of the answers that are finished
        self._unfinished = count * prompts
        self._queue_s = self._media_s = 0.0
        self._decode_s: float | None = None
        self._text_at: dict[int, float] = {}  # of each answer's last text
        self._generated = Counter[int]()  # tokens of each answer
        self._reasons: list[FinishReason] = []  # of the answers that are finished
        self._span = span.current.get()
        model = worker.engine.card.id
        generation_trace.describe_request(self._span, model, self.request_id, self._samplings)
        self._started = worker.clock()
        self._cancelled_at: float | None = None
        self._deltas: asyncio.Queue[Delta | None] = asyncio.Queue()  # None: the end

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request arrived."""
        return self._worker.clock() - self._started

    @asynccontextmanager
    async def running(self, receive: Receive) -> AsyncIterator[None]:
        """Generate while the body runs; leaving the body early cancels the work."""
        self._task = asyncio.create_task(self._run(), name="generation")
        self._task.add_done_callback(lambda _: self._deltas.put_nowait(None))
        try:
            async with background(self._watch_client(receive), "watch-client"):
                yield
        finally:
            self._cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()  # retrieved: the body raised it, or has its own reason

    async def read(self, patience_s: float | None = None) -> AsyncGenerator[Delta | None]:
        """Yield deltas, and None after each `patience_s` without one.

        Raises:
            ClientDisconnect: the client has left; there is nobody to answer.
            ServeError: what ended the generation before its time.
        """
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    delta = await self._deltas.get()
            except TimeoutError:
                yield None
                continue
            if delta is None:
                break
            yield delta
        if self._task.cancelled():
            raise ClientDisconnect
        self._task.result()

    async def _watch_client(self, receive: Receive) -> None:
        await client_left(receive)
        self._cancel()

    def _cancel(self) -> None:
        if not self._task.done() and self._cancelled_at is None:
            self._cancelled_at = self._worker.clock()
            self._task.cancel()

    async def _run(self) -> None:
        metrics, outcome = self._worker.metrics, "failed"
        try:
            async with (
                self._worker.media.reservation() as reservation,
                self._worker.gate.slots(
                    self._unfinished, partial(self._read_media, reservation)
                ) as (slots, prompts),
            ):
                self._queue_s = self.elapsed_s - self._media_s
                self.timings = {"queue_s": self._queue_s, "media_s": self._media_s}
                free = asyncio.Semaphore(slots)
                requests = [
                    GenerateRequest(
                        request_id=self.request_id,
                        prompt=prompt,
                        sampling=sampling,
                        resumed=self._resumed,
                        is_batch=self.is_batch,
                    )
                    for prompt in prompts
                    for sampling in self._samplings
                ]
                await gather_or_cancel(
                    self._stream(i, request, free) for i, request in enumerate(requests)
                )
            outcome = "completed"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except ServeError as exc:
            outcome = exc.code
            if exc.status >= 500:
                self._span.fail(outcome)
            raise
        finally:
            metrics.requests.labels(outcome).inc()
            metrics.total_s.observe(self.elapsed_s)
            if outcome == "failed":
                self._span.fail(outcome)
            if self._cancelled_at is not None:
                metrics.cancelled.inc()
                metrics.cancel_to_free_s.observe(self._worker.clock() - self._cancelled_at)

    async def _read_media(
        self, reservation: PixelReservation
    ) -> tuple[Conversation | ReadyPrompt, ...]:
        began_s = self.elapsed_s
        prompt = await self._read_prompt(reservation)
        self._media_s = self.elapsed_s - began_s
        self._span.add_stage("media", self._media_s, self._media_s, {})
        return prompt if isinstance(prompt, tuple) else (prompt,)

    async def _stream(self, index: int, request: GenerateRequest, free: asyncio.Semaphore) -> None:
        prompt_index = index // len(self._samplings)
        async with free, aclosing(self._worker.engine.stream(request)) as deltas:
            async for delta in deltas:
                if delta.usage is not None:
                    self._unfinished -= 1
                    before = self._usages.get(prompt_index)
                    self._usages[prompt_index] = _combined(before, delta.usage)
                is_last = delta.usage is not None and not self._unfinished
                usage = _total(self._usages.values()) if is_last else None
                if delta.stages is not None and delta.usage is not None:
                    self._add_stages(delta.stages, delta.usage)
                so_far = delta.usage or delta.so_far
                stop = delta.stop if delta.stop in request.sampling.stop else None
                own = replace(
                    delta,
                    index=index,
                    prompt_index=prompt_index,
                    usage=usage,
                    so_far=so_far,
                    stop=stop,
                )
                self._measure(own)
                self._deltas.put_nowait(own)
                if self._deltas.qsize() > MAX_UNREAD_DELTAS:
                    raise ReaderTooSlow

    def _count(self, delta: Delta) -> None:
        """Count the tokens of a delta as they come; the usage at the end sets the sum right."""
        before = self._generated[delta.index]
        if delta.so_far is not None:
            total = delta.so_far.completion_tokens - len(self._resumed)
        else:
            total = before + (0 if delta.is_replay else len(delta.tokens) or bool(delta.text))
        self._generated[delta.index] = max(total, before)
        self._worker.metrics.token_sums["generated"] += max(total - before, 0)

    def _measure(self, delta: Delta) -> None:
        metrics = self._worker.metrics
        self._count(delta)
        if (delta.text or delta.tool_calls) and not delta.is_replay:
            elapsed_s = self.elapsed_s
            if self.first_text_s is None:
                self.first_text_s = elapsed_s
                metrics.first_token_s.observe(elapsed_s)
            if (before_s := self._text_at.get(delta.index)) is not None:
                metrics.gap_s.observe(elapsed_s - before_s)
            self._text_at[delta.index] = elapsed_s
        if delta.finish_reason is not None:
            metrics.count_answer(delta.finish_reason)
            self._reasons.append(delta.finish_reason)
            since_media_s = self.elapsed_s - self._media_s
            generation_trace.add_stages(
                self._span, delta.index, since_media_s, self._queue_s, delta.stages
            )
        if delta.usage is None:
            return
        generation_trace.describe_answers(self._span, delta.usage, self._reasons)
        self.timings |= {"first_token_s": self.first_text_s, "total_s": self.elapsed_s}
        metrics.count_tokens(delta.usage)
        metrics.observe_timings(self.timings, self._decode_s)

    def _add_stages(self, stages: Stages, usage: Usage) -> None:
        decoded = usage.completion_tokens - len(self._resumed) - 1
        self._decode_s = stages.decode_s
        self.timings |= {
            "queue_s": self._queue_s + stages.queue_s,
            "vision_s": stages.vision_s,
            "prefill_s": stages.prefill_s,
            "decode_s": None if self._resumed else stages.decode_s,  # of the whole answer only
            "decode_tokens_per_s": decoded / stages.decode_s if decoded > 0 else None,
        }


def _seeded(sampling: SamplingParams, index: int) -> SamplingParams:
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + index)


def _combined(total: Usage | None, usage: Usage) -> Usage:
    """Add the tokens of one more answer; the prompt, which all share, counts once."""
    if total is None:
        return usage
    return replace(
        total,
        completion_tokens=total.completion_tokens + usage.completion_tokens,
        cached_tokens=min(total.cached_tokens, usage.cached_tokens),
    )


def _total(usages: Collection[Usage]) -> Usage:
    """Add the tokens of all prompts."""
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.image_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
    )
