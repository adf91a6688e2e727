"""Forwarding of one request: a worker is chosen, asked, and another one where it fails.

A request waits in line for a free slot. Until the first token is out, it belongs to the cluster and
not to the worker; behind it, to the workers of the same fingerprint. A worker is asked once, except
that a request whose worker was lost waits for busy ones. Only so many workers are lost with one
request before it gets on: it may be what they die of.
"""

import asyncio
import logging
import time

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve import logs
from llava_serve.cluster.forwarding.attempts import Attempts, Failure
from llava_serve.cluster.forwarding.forward_request import ForwardContext, ForwardRequest
from llava_serve.cluster.forwarding.relay import Relay
from llava_serve.cluster.forwarding.resume import Progress
from llava_serve.cluster.recording.request_record import RequestRecord, log_end, outcome_of
from llava_serve.cluster.recording.token_estimate import counted_tokens
from llava_serve.cluster.registry.dispatch import DispatchRequest
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.upstream.upstream import NotAnswered, WorkerSilent
from llava_serve.cluster.waiting.model_line import LineRequest
from llava_serve.errors import (
    BUSY,
    NOT_ANSWERED,
    AnswerTimeout,
    Interrupted,
    LineTimeout,
    ModelNotFound,
    NoWorker,
    ServeError,
    WorkerLost,
    WorkersLost,
    WorkerUnchecked,
    WorkerUnreachable,
)
from llava_serve.http import stopping
from llava_serve.http.body import release_body
from llava_serve.http.caller import Caller, caller_of
from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.protocol.cluster import BATCH
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.resume import RESUME, with_tokens
from llava_serve.protocol.usage import ASKING
from llava_serve.tracing import span

logger = logging.getLogger(__name__)

_LOOK_S = 1.0  # for a worker that became one for pictures without a verdict


class Forward(Response):
    """A response that is the answer of a worker.

    All of a request happens inside one call: worker chosen and counted, connection opened, answer
    passed on. So everything is given back when the call ends, whichever side ends it.

    Time that is over is no worker's death. Nobody is asked after it, and the worker that was silent
    leaves dispatch only where all of the time was its own and it owed a stream's first byte: a long
    answer that is not streamed says nothing of its worker.
    """

    def __init__(self, context: ForwardContext, request: ForwardRequest, body: bytes) -> None:
        super().__init__()
        self._context = context
        self._request = request
        self._body = body  # as it came, while another worker may be given it
        self._began = int(time.time())
        self._asked: RegisteredWorker | None = None
        self._attempts = Attempts(context.budget, context.clock, context.failures)
        is_resumable = request.is_resumable and context.kept_bytes is not None
        self._progress = Progress(request.wire) if is_resumable else None
        self._record = RequestRecord(
            request_id=logs.request_id.get(),
            wire=request.wire.name,
            model=request.model,
            arrived_at=context.clock(),
            is_streamed=request.is_streamed,
            has_images=request.has_images,
            expected_tokens=request.cost,
            image_sha256=request.image_sha256,
            client_fields=request.client_fields,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context, request, record = self._context, self._request, self._record
        kept, kept_bytes = context.kept_bytes, 0

        def on_answer(relay: Relay) -> None:
            """Forget the bytes, so that another large body may come in; harmless when repeated."""
            nonlocal kept_bytes
            if self._asked is not None:
                context.workers.record_answer(self._asked)
            self._attempts.start_over()
            if kept and relay.progress and not kept_bytes and kept.try_acquire(len(self._body)):
                kept_bytes = len(self._body)
            if not kept_bytes:
                self._body = b""
            release_body(Request(scope))

        relay = Relay(request.wire, request.prompt, send, on_answer, context.clock)
        relay.counts_tokens = request.counts_tokens
        record.caller = caller_of(Request(scope))
        waiting = self._line_request(record.caller, relay)
        try:
            try:
                work = self._admitted(relay, waiting)
                # A stream has a task: else each record would wake all that waits for the work.
                run = asyncio.create_task(work) if request.is_streamed else work
                record.outcome = await unless_client_leaves(run, receive) or "client_left"
            except asyncio.CancelledError as exc:
                if not stopping.is_end_of_grace(exc):
                    raise
                raise Interrupted from exc
        except ServeError as exc:
            record.outcome = outcome_of(exc)
            await relay.fail(exc)
            logger.warning("%s: %s", exc.code, exc.message)
        finally:
            if kept is not None:
                kept.release(kept_bytes)
            record.ended_at = context.clock()
            record.queue_s = waiting.waited_s
            record.first_text_at, record.tokens = relay.answered_at, relay.tokens
            for observe in (context.metrics.observe, log_end, *context.observers):
                observe(record)

    def _line_request(self, caller: Caller, relay: Relay) -> LineRequest:
        async def tell(place: LinePlace) -> None:
            if self._request.is_streamed:
                await relay.show_life(place)

        return LineRequest(
            owner=caller.owner,
            cost=self._request.cost,
            body_bytes=len(self._body),
            tell=tell,
            is_batch=caller.is_batch,
        )

    async def _admitted(self, relay: Relay, waiting: LineRequest) -> str:
        """Count the request for its key, and run it."""
        accounts = self._context.accounts
        if accounts is None:
            return await self._run(relay, waiting)
        key, model, answers = self._record.caller.key, self._request.model, self._request.answers
        expected = counted_tokens(self._request.cost)
        async with accounts.limits.admitted(key, model, answers, expected) as relay.headers:
            self._record.reserved_tokens = expected  # its observers give them back
            return await self._run(relay, waiting)

    async def _run(self, relay: Relay, waiting: LineRequest) -> str:
        """Ask one worker after the other until one answers; return the outcome's name."""
        context = self._context
        self._request.check_via(context.name)
        while True:
            try:
                async with context.line.dispatch(self._wanted(relay), waiting) as worker:
                    self._record.queue_s = waiting.waited_s
                    return await self._ask(worker, relay)
            except WorkerSilent as exc:
                self._blame_silent(worker, exc)
                raise
            except (WorkerUnreachable, WorkerLost, NotAnswered) as exc:
                if not await self._take_back(worker, exc, relay):
                    return await self._give_up(exc, relay)
            except WorkerUnchecked:  # which passes, when the worker was checked or its time is over
                left_s = context.line.limits.max_wait_s - waiting.waited_s
                if left_s <= 0:
                    raise
                began = context.clock()
                await context.canary.next_verdict(min(_LOOK_S, left_s))
                waiting.waited_s += context.clock() - began
                await relay.show_life()
            except (NoWorker, ModelNotFound, LineTimeout) as exc:
                # ModelNotFound: all that served it have left since
                if isinstance(exc, LineTimeout) or not await self._may_wait(relay):
                    return await self._give_up(exc, relay)
                await relay.show_life()

    def _wanted(self, relay: Relay) -> DispatchRequest:
        request = self._request
        return DispatchRequest(
            model=request.model,
            native=request.wire.is_native,
            has_images=request.has_images,
            affinity=request.affinity,
            answers=request.answers,
            excluding=self._attempts.tried,
            fingerprint=self._asked.fingerprint if self._asked and relay.has_answered else None,
        )

    def _blame_silent(self, worker: RegisteredWorker, silent: WorkerSilent) -> None:
        if not self._request.is_streamed:
            raise AnswerTimeout(self._request.first_byte_s) from silent.__cause__
        if self._attempts.last is None:
            self._context.workers.mark_unreachable(worker)

    async def _take_back(self, worker: RegisteredWorker, failure: Failure, relay: Relay) -> bool:
        """Tell whether another worker may have the request, or go on with its answer."""
        if not relay.has_answered:
            self._context.metrics.taken_back.labels(self._request.wire.name).inc()
        elif not (self._body and relay.progress and relay.progress.is_complete):
            return False
        elif relay.progress.has_got_on:
            self._attempts.start_over()
        logger.warning("the worker at %s has this request no more: %s", worker.address, failure)
        self._attempts.add(worker.address, failure)
        return await self._attempts.may_retry(self._latest(relay))

    async def _may_wait(self, relay: Relay) -> bool:
        """Tell whether a worker may have the request after all: one that is busy, or comes back."""
        if self._attempts.forget_busy():
            return True
        if self._asked is None or not relay.has_answered:
            return False
        may_return = self._context.may_return(self._asked.fingerprint)
        return may_return and await self._attempts.may_return()

    async def _give_up(self, failure: Exception, relay: Relay) -> str:
        """End with what the last worker said, or the one whose answer nobody goes on with."""
        attempts = self._attempts
        if attempts.are_too_many and not relay.has_answered:
            raise WorkersLost(attempts.lost)
        told = (attempts.first if relay.has_answered else attempts.last) or failure
        if isinstance(told, NotAnswered):
            return await relay.pass_not_answered(told)
        raise told

    def _latest(self, relay: Relay) -> float:
        """Return when the workers must have begun, or gone on, at the latest."""
        return relay.alive_at + self._record.queue_s + self._request.first_byte_s

    async def _ask(self, worker: RegisteredWorker, relay: Relay) -> str:
        """Return the outcome of an answer.

        Raises:
            WorkerSilent: there was none in time.
            WorkerUnreachable, WorkerLost, NotAnswered: it failed, or broke off; another worker may
                be asked, or asked to go on.
        """
        context, request, record = self._context, self._request, self._record
        self._asked = worker
        record.worker = worker.address
        record.asked_workers += 1
        span.current.get().add_event("worker asked", {"llava.worker": worker.address})
        goes_on = relay.has_answered
        try:
            async with context.upstream.post(
                worker.address,
                request.wire.path,
                self._next_body(goes_on),  # held by nobody but the call
                self._headers_for(worker),
                max(self._latest(relay) - context.clock(), 0),
            ) as answer:
                if value := answer.headers.get(NOT_ANSWERED):
                    raise NotAnswered(answer, await answer.rest(), value)
                relay.progress = self._progress if RESUME in answer.headers else None
                if goes_on:
                    record.resumed += 1
                    context.metrics.resumed.labels(request.wire.name).inc()
                    context.workers.record_answer(worker)
                    await relay.show_resumed()
                else:
                    record.first_byte_at = context.clock()
                return await relay.pass_answer(answer)
        except WorkerSilent:
            raise
        except NotAnswered as exc:
            if exc.headers[NOT_ANSWERED] == BUSY:
                context.workers.mark_busy(worker)
            raise
        except (WorkerUnreachable, WorkerLost):
            context.prober.mark_unreachable(worker)
            raise

    def _next_body(self, goes_on: bool) -> bytes:
        if self._progress is None:
            return self._body
        self._progress.begin()
        return with_tokens(self._body, self._progress.tokens) if goes_on else self._body

    def _headers_for(self, worker: RegisteredWorker) -> dict[str, str]:
        headers = {
            **span.current.get().headers,
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "X-Request-ID": logs.request_id.get(),
            "Via": ", ".join(filter(None, (self._request.via, f"1.1 {self._context.name}"))),
            **self._context.upstream.shown_to(is_legacy=worker.is_legacy),
            **(ASKING | {BATCH: "1"} if self._record.caller.is_batch else ASKING),
        }
        if self._progress and worker.fingerprint:
            headers[RESUME] = str(self._began)
        return headers
