"""Forwarding of one request: a worker is chosen, asked, and another one while there is no token.

Until the first token is out, a request belongs to the cluster and not to the worker. A worker is
asked once, except that a request whose worker was lost may wait for busy ones. Only so many workers
are lost with one request: it may be what they die of.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve import logs
from llava_serve.cluster.canary import Canary
from llava_serve.cluster.dispatch import DispatchRequest
from llava_serve.cluster.metrics import ControllerMetrics
from llava_serve.cluster.prober import Prober
from llava_serve.cluster.registered_worker import RegisteredWorker
from llava_serve.cluster.registry import Registry
from llava_serve.cluster.relay import Relay
from llava_serve.cluster.request_record import RequestObserver, RequestRecord
from llava_serve.cluster.upstream import NotAnswered, Upstream, WorkerSilent
from llava_serve.cluster.wire import Wire
from llava_serve.errors import (
    BUSY,
    LOST,
    NOT_ANSWERED,
    AnswerTimeout,
    Interrupted,
    ModelNotFound,
    NoWorker,
    ServeError,
    Unavailable,
    WorkerLost,
    WorkersLost,
    WorkerUnchecked,
    WorkerUnreachable,
)
from llava_serve.errors.base import class_of
from llava_serve.http import stopping
from llava_serve.http.body import release_body
from llava_serve.http.disconnect import unless_client_leaves

logger = logging.getLogger(__name__)

MOST_LOST = 3  # workers with one request: the first, and two that were asked again
_WAIT_S = 1.0  # until a busy worker is asked again


@dataclass(frozen=True, slots=True)
class ForwardContext:
    """What all requests of one controller share."""

    workers: Registry
    upstream: Upstream
    prober: Prober
    canary: Canary
    metrics: ControllerMetrics
    name: str  # unlike any other controller's
    clock: Callable[[], float]
    observers: tuple[RequestObserver, ...] = ()  # of each request's end


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRequest:
    """One request to pass on, which asks for so many `answers`.

    `via` is the request's `Via` header, the controllers it came through; `first_byte_s` is how long
    the workers together may take to begin the answer, or to finish it where it is not streamed;
    `prompt` is that of LLaVA's wire.
    """

    wire: Wire
    model: str
    via: str | None
    first_byte_s: float
    is_streamed: bool = True
    has_images: bool = False  # or videos
    answers: int = 1
    prompt: str = ""


Failure = WorkerUnreachable | WorkerLost | NotAnswered


class Attempts:
    """How the workers failed that a request was given to, by address."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}
        self._lost = 0

    @property
    def tried(self) -> Collection[str]:
        return self._failures

    @property
    def last(self) -> Failure | None:
        return next(reversed(self._failures.values()), None)

    def add(self, address: str, failure: Failure) -> None:
        """Remember that the worker at `address` gave no answer.

        Raises:
            WorkersLost: it is one too many that was lost with this request.
        """
        self._failures.pop(address, None)
        self._failures[address] = failure
        if failure.headers[NOT_ANSWERED] == LOST:
            self._lost += 1
        if self._lost >= MOST_LOST:
            raise WorkersLost(self._lost)

    def forget_busy(self) -> bool:
        """Let busy workers be asked again; False where no worker was lost, or none is busy."""
        if not self._lost:
            return False
        tried = self._failures.items()
        others = {address: how for address, how in tried if how.headers[NOT_ANSWERED] != BUSY}
        had_busy = len(others) < len(tried)
        self._failures = others
        return had_busy


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
        self._asked: RegisteredWorker | None = None
        self._record = RequestRecord(
            request_id=logs.request_id.get(),
            wire=request.wire.name,
            model=request.model,
            arrived_at=context.clock(),
            is_streamed=request.is_streamed,
            has_images=request.has_images,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context, request, record = self._context, self._request, self._record

        def on_answer() -> None:
            """Forget the bytes, so that another large body may come in; harmless when repeated."""
            if self._asked is not None:
                context.workers.record_answer(self._asked)
            self._body = b""
            release_body(Request(scope))

        relay = Relay(request.wire, request.prompt, send, on_answer, context.clock)
        try:
            try:
                left = await unless_client_leaves(self._run(relay), receive)
                record.outcome = left or "client_left"
            except asyncio.CancelledError as exc:
                if not stopping.is_end_of_grace(exc):
                    raise
                raise Interrupted from exc
        except ServeError as exc:
            record.outcome = _outcome(exc)
            await relay.fail(exc)
            logger.warning("%s: %s", exc.code, exc.message)
        finally:
            record.ended_at = context.clock()
            record.first_text_at = relay.answered_at
            for observe in (context.metrics.observe, _log, *context.observers):
                observe(record)

    async def _run(self, relay: Relay) -> str:
        """Ask one worker after the other until one answers; return the outcome's name."""
        context, request = self._context, self._request
        _check_via(context.name, request.via)
        attempts = Attempts()
        while True:
            try:
                wanted = DispatchRequest(
                    model=request.model,
                    native=request.wire.is_native,
                    has_images=request.has_images,
                    answers=request.answers,
                    excluding=attempts.tried,
                )
                with context.workers.dispatch(wanted, context.clock()) as worker:
                    return await self._ask(worker, relay)
            except WorkerSilent as exc:
                if not request.is_streamed:
                    raise AnswerTimeout(request.first_byte_s) from exc.__cause__
                if attempts.last is None:
                    context.workers.mark_unreachable(worker)
                raise
            except (WorkerUnreachable, WorkerLost, NotAnswered) as exc:
                if relay.has_answered:
                    raise
                logger.warning("the worker at %s has this request no more: %s", worker.address, exc)
                context.metrics.taken_back.labels(request.wire.name).inc()
                attempts.add(worker.address, exc)
            except WorkerUnchecked:  # bounded by the registry
                await context.canary.next_verdict(_WAIT_S)
                await relay.show_life()
            except (NoWorker, ModelNotFound) as exc:  # the latter once all that served it have left
                if not await self._may_wait(attempts, relay):
                    return await _give_up(attempts.last or exc, relay)

    async def _may_wait(self, attempts: Attempts, relay: Relay) -> bool:
        """Wait a moment for a slot, where a lost worker's request found the others busy."""
        latest = self._record.arrived_at + self._request.first_byte_s - _WAIT_S
        if self._context.clock() > latest or not attempts.forget_busy():
            return False
        await asyncio.sleep(_WAIT_S)
        await relay.show_life()
        return True

    async def _ask(self, worker: RegisteredWorker, relay: Relay) -> str:
        """Return the outcome of an answer.

        Raises:
            WorkerSilent: there was none in time.
            WorkerUnreachable, WorkerLost, NotAnswered: it failed; before any text another worker
                may be asked.
        """
        context, request, record = self._context, self._request, self._record
        self._asked = worker
        record.worker = worker.address
        record.asked_workers += 1
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "X-Request-ID": logs.request_id.get(),
            "Via": ", ".join(filter(None, (request.via, f"1.1 {context.name}"))),
        }
        left_s = max(relay.alive_at + request.first_byte_s - context.clock(), 0)
        try:
            async with context.upstream.post(
                worker.address, request.wire.path, self._body, headers, left_s
            ) as answer:
                if value := answer.headers.get(NOT_ANSWERED):
                    raise NotAnswered(answer, await answer.rest(), value)
                record.first_byte_at = context.clock()
                return await relay.pass_answer(answer)
        except WorkerSilent:
            raise
        except (WorkerUnreachable, WorkerLost):
            context.prober.mark_unreachable(worker)
            raise


def _log(record: RequestRecord) -> None:
    took_s = (record.ended_at or record.arrived_at) - record.arrived_at
    logger.info(
        "%s at %s: %s, %.3f s", record.model, record.worker or "no worker", record.outcome, took_s
    )


async def _give_up(failure: Exception, relay: Relay) -> str:
    """End with what the last worker said, which tells more than that there is no further one."""
    if isinstance(failure, NotAnswered):
        return await relay.pass_not_answered(failure)
    raise failure


def _check_via(name: str, via: str | None) -> None:
    if name in (via or ""):
        raise Unavailable(
            "the request came back to the controller that forwarded it: controllers are "
            "registered with each other in a circle"
        )


def _outcome(error: ServeError) -> str:
    """Return the metric's label: a code of ours, for a worker may write whatever it likes."""
    if isinstance(error, Interrupted):
        return "broken_off"
    return error.code if class_of(error.code) else "failed"
