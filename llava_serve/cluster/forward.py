"""One request passed on to a worker and its answer passed back, record by record."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve import logs
from llava_serve.cluster.attempts import Attempts, Refusal
from llava_serve.cluster.held_body import HeldBody
from llava_serve.cluster.metrics import Metrics
from llava_serve.cluster.registry import Registry, Worker
from llava_serve.cluster.reply import Reply, unless_client_leaves
from llava_serve.cluster.upstream import Answer, Upstream, WorkerSilent
from llava_serve.cluster.wire import MAX_HELD_BYTES, NATIVE, Records, Wire
from llava_serve.errors import (
    NOT_ANSWERED,
    AnswerTimeout,
    Interrupted,
    ModelNotFound,
    NoWorker,
    RemoteError,
    ServeError,
    Unavailable,
    WorkerLost,
    WorkerUnreachable,
)
from llava_serve.errors.base import class_of
from llava_serve.http import stopping
from llava_serve.protocol import sse

logger = logging.getLogger(__name__)

_WAIT_S = 1.0  # until a busy worker is asked again


@dataclass(frozen=True, slots=True)
class Exchange:
    """What all requests of one controller share."""

    workers: Registry
    upstream: Upstream
    metrics: Metrics
    name: str  # unlike any other controller's
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request to pass on, which asks for so many `answers`.

    `body` is sent as it came, and dropped once nobody else can be asked; `via` is the request's
    `Via` header, the controllers it came through; `first_byte_s` is how long the workers together
    may take to begin the answer, or to finish it where it is not streamed; `prompt` is the old
    wire's.
    """

    wire: Wire
    model: str
    body: HeldBody
    via: str | None
    first_byte_s: float
    is_streamed: bool = True
    answers: int = 1
    prompt: str = ""


class Forward(Response):
    """A response that is the answer of a worker.

    All of a request happens inside one call: worker chosen and counted, connection opened, answer
    passed on. So everything is given back when the call ends, whichever side ends it. What has not
    sent a token is given to another worker, as `attempts` says.

    Time that is over is no worker's death. Nobody is asked after it, and the worker that was silent
    leaves dispatch only where all of the time was its own and it owed a stream's first byte: a long
    answer that is not streamed says nothing of its worker.
    """

    def __init__(self, exchange: Exchange, job: Job) -> None:
        super().__init__()
        self._exchange = exchange
        self._job = job
        self._wire = job.wire
        self._arrived = exchange.clock()
        self._deadline = self._arrived + job.first_byte_s  # moved by signs of life
        self._asked = "no worker"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome, reply = "broken_off", Reply(send)  # by a bug, or by this process that stops
        try:
            try:
                outcome = await unless_client_leaves(self._run(reply), receive) or "client_left"
            except asyncio.CancelledError as exc:
                if not stopping.is_end_of_grace(exc):
                    raise
                raise Interrupted from exc
        except ServeError as exc:
            outcome = _outcome(exc)
            await reply.fail(self._wire, exc)
            logger.warning("%s: %s", exc.code, exc.message)
        finally:
            self._exchange.metrics.requests.labels(self._wire.name, outcome).inc()
            took_s = self._exchange.clock() - self._arrived
            logger.info("%s at %s: %s, %.3f s", self._job.model, self._asked, outcome, took_s)

    async def _run(self, reply: Reply) -> str:
        """Ask one worker after the other until one answers; return the outcome's name."""
        self._check_way()
        attempts = Attempts()
        while True:
            try:
                with self._exchange.workers.dispatch(
                    self._job.model,
                    self._exchange.clock(),
                    native=self._wire is NATIVE,
                    excluding=attempts.tried,
                    answers=self._job.answers,
                ) as worker:
                    return await self._ask(worker, reply)
            except WorkerSilent as exc:
                if attempts.last is None and self._job.is_streamed:
                    self._exchange.workers.lose(worker)
                raise self._out_of_time(exc) from exc.__cause__
            except (WorkerUnreachable, WorkerLost, Refusal) as exc:  # before any text
                logger.warning("the worker at %s has this request no more: %s", self._asked, exc)
                self._exchange.metrics.taken_back.labels(self._wire.name).inc()
                attempts.add(worker.address, exc)
            except (NoWorker, ModelNotFound) as exc:  # the latter once all that served it have left
                if (last := attempts.last) is None:
                    raise
                if await self._may_wait(attempts, reply):
                    continue
                if isinstance(last, Refusal):
                    return await self._refuse(last, reply)
                raise last from exc  # what they said tells more

    def _check_way(self) -> None:
        if self._exchange.name in (self._job.via or ""):
            raise Unavailable(
                "the request came back to the controller that forwarded it: controllers are "
                "registered with each other in a circle"
            )

    def _out_of_time(self, silent: WorkerSilent) -> ServeError:
        return silent if self._job.is_streamed else AnswerTimeout(self._job.first_byte_s)

    async def _may_wait(self, attempts: Attempts, reply: Reply) -> bool:
        """Wait a moment for a place, where a lost worker's request found the others busy."""
        latest = self._arrived + self._job.first_byte_s - _WAIT_S
        if self._exchange.clock() > latest or not attempts.forget_busy():
            return False
        await asyncio.sleep(_WAIT_S)
        if reply.has_started:
            await reply.write(self._wire.encode_sign_of_life(self._job.prompt))
        return True

    async def _ask(self, worker: Worker, reply: Reply) -> str:
        """Return the outcome of an answer.

        Raises:
            WorkerSilent: there was none in time.
            WorkerUnreachable, WorkerLost, Refusal: there was none, and another worker may be asked.
        """
        self._asked = worker.address
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "X-Request-ID": logs.request_id.get(),
            "Via": ", ".join(filter(None, (self._job.via, f"1.1 {self._exchange.name}"))),
        }
        left_s = max(self._deadline - self._exchange.clock(), 0)
        try:
            async with self._exchange.upstream.post(
                worker.address, self._wire.path, self._job.body.content, headers, left_s
            ) as answer:
                if value := answer.headers.get(NOT_ANSWERED):
                    raise Refusal(answer, await answer.rest(), value)
                took_s = self._exchange.clock() - self._arrived
                self._exchange.metrics.first_byte_seconds.labels(self._wire.name).observe(took_s)
                if answer.status < 400 and self._is_stream(answer):
                    return await self._pass_stream(worker, answer, reply)
                return await self._pass_whole(answer, reply)
        except WorkerSilent:
            raise
        except (WorkerUnreachable, WorkerLost):
            self._exchange.workers.lose(worker)
            raise

    def _is_stream(self, answer: Answer) -> bool:
        kind = answer.headers.get("Content-Type", "")
        return self._wire is not NATIVE or kind.startswith(sse.MEDIA_TYPE)

    async def _pass_whole(self, answer: Answer, reply: Reply) -> str:
        """Pass on an answer that is no stream, once all of it is here."""
        content = await answer.rest()
        self._job.body.drop()
        # LLaVA's clients read nothing but records, and no client reads anything else in a stream.
        if self._wire is not NATIVE or reply.has_started:
            raise _remote_error(content, answer.status)
        await reply.whole(answer, content)
        if answer.status < 400:
            return "ok"
        return "refused" if answer.status < 500 else "failed"

    async def _refuse(self, last: Refusal, reply: Reply) -> str:
        """Pass on what the last worker said, as the only error."""
        if last.answer.status >= 400 and (self._wire is not NATIVE or reply.has_started):
            raise _remote_error(last.content, last.answer.status)
        await reply.whole(last.answer, last.content)
        return "failed"

    async def _pass_stream(self, worker: Worker, answer: Answer, reply: Reply) -> str:
        """Pass on whole records as they come; whatever happens, the last one ends the stream.

        Raises:
            WorkerLost, Refusal: before the first text.
        """
        records = Records(self._wire, self._job.prompt)
        try:
            while received := await answer.next_bytes():
                whole = records.feed(received)
                if records.refusal is not None:
                    return await self._pass_refusal(answer, whole, records.refusal, reply)
                if whole:
                    self._deadline = self._exchange.clock() + self._job.first_byte_s
                    await reply.start(answer)
                    if records.has_answered:
                        self._job.body.drop()
                    await reply.write(whole)
                _check_held(records, worker)
            if self._wire.end is not None and not records.has_ended:
                raise WorkerLost(worker.address, "it ended the stream too early")
        except WorkerLost as exc:
            if not records.has_answered:
                raise
            self._exchange.workers.lose(worker)
            if not records.has_ended:
                logger.warning("%s: %s", exc.code, exc.message)
                await reply.write(self._wire.encode_error(exc))
                await reply.end()
                return exc.code
        else:
            await reply.start(answer)
            await reply.write(records.rest)
        await reply.end()
        return "failed" if records.has_failed else "ok"

    async def _pass_refusal(
        self, answer: Answer, alive: bytes, refusal: bytes, reply: Reply
    ) -> str:
        """End the stream with an error that came before any text, unless another may be asked."""
        if alive:
            await reply.start(answer)
            await reply.write(alive)
        last = refusal + self._wire.separator
        if value := self._wire.not_answered(refusal):
            raise Refusal(answer, last, value)
        await reply.whole(answer, last)
        return "failed"


def _check_held(records: Records, worker: Worker) -> None:
    if records.held_bytes > MAX_HELD_BYTES:
        reason = f"it sent {MAX_HELD_BYTES:,} bytes that hold no whole text"
        raise WorkerLost(worker.address, reason)


def _outcome(error: ServeError) -> str:
    """Return the metric's label: a code of ours, for a worker may write whatever it likes."""
    if isinstance(error, Interrupted):
        return "broken_off"
    return error.code if class_of(error.code) else "failed"


def _remote_error(content: bytes, status: int) -> RemoteError:
    try:
        return RemoteError.from_body(json.loads(content), status)
    except ValueError:
        return RemoteError.from_body(content.decode(errors="replace"), status)
