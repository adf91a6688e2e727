"""One request passed on to a worker and its answer passed back, record by record."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve import logs
from llava_serve.cluster.metrics import Metrics
from llava_serve.cluster.registry import Registry, Worker
from llava_serve.cluster.upstream import Answer, Upstream, WorkerRefused
from llava_serve.cluster.wire import NATIVE, Records, Wire
from llava_serve.errors import (
    NOT_ANSWERED,
    ModelNotFound,
    NoWorker,
    RemoteError,
    ServeError,
    Unavailable,
    WorkerLost,
    WorkerUnreachable,
)
from llava_serve.protocol import sse

logger = logging.getLogger(__name__)

# Between two neighbours only, or written anew by this controller's own server.
_NOT_PASSED_BACK = {
    *("connection", "keep-alive", "transfer-encoding", "content-length"),
    *("date", "server", "x-request-id"),
}


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

    `body` is sent as it came; `via` is the request's `Via` header, the controllers it came through;
    `first_byte_s` is how long the worker may take to begin its answer.
    """

    wire: Wire
    model: str
    body: bytes
    via: str | None
    first_byte_s: float
    answers: int = 1


class Forward(Response):
    """A response that is the answer of a worker.

    All of a request happens inside one call: worker chosen and counted, connection opened, answer
    passed on. So everything is given back when the call ends, whichever side ends it.
    """

    def __init__(self, exchange: Exchange, job: Job) -> None:
        super().__init__()
        self._exchange = exchange
        self._job = job
        self._wire = job.wire
        self._arrived = exchange.clock()
        self._asked = "no worker"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome, reply = "broken_off", _Reply(send)  # by a bug, or by this process that stops
        try:
            outcome = await _unless_client_leaves(self._run(reply), receive) or "client_left"
        except ServeError as exc:
            outcome = exc.code
            if self._wire is NATIVE:
                raise  # nothing was sent: the app's handler answers
            logger.warning("%s: %s", exc.code, exc.message)
            await reply.start(200, _old_headers(exc))
            await reply.write(self._wire.encode_error(exc))
            await reply.end()
        finally:
            self._exchange.metrics.requests.labels(self._wire.name, outcome).inc()
            took_s = self._exchange.clock() - self._arrived
            logger.info("%s at %s: %s, %.3f s", self._job.model, self._asked, outcome, took_s)

    async def _run(self, reply: "_Reply") -> str:
        """Ask one worker after the other until one accepts; return the outcome's name."""
        if self._exchange.name in (self._job.via or ""):
            raise Unavailable(
                "the request came back to the controller that forwarded it: controllers are "
                "registered with each other in a circle"
            )
        refusals: dict[str, WorkerRefused | _Declined] = {}
        while True:
            try:
                with self._exchange.workers.dispatch(
                    self._job.model,
                    self._exchange.clock(),
                    native=self._wire is NATIVE,
                    excluding=refusals,
                    answers=self._job.answers,
                ) as worker:
                    return await self._ask(worker, reply)
            except (WorkerRefused, _Declined) as exc:
                logger.warning("%s; asking the next one", exc)
                refusals[worker.address] = exc
            except (NoWorker, ModelNotFound) as exc:  # the latter once all that served it have left
                if not refusals:
                    raise
                last = list(refusals.values())[-1]  # what they said tells more
                if isinstance(last, WorkerRefused):
                    raise last from exc
                await reply.whole(last.answer, last.content)
                return "failed"

    async def _ask(self, worker: Worker, reply: "_Reply") -> str:
        self._asked = worker.address
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "X-Request-ID": logs.request_id.get(),
            "Via": ", ".join(filter(None, (self._job.via, f"1.1 {self._exchange.name}"))),
        }
        try:
            async with self._exchange.upstream.post(
                worker.address, self._wire.path, self._job.body, headers, self._job.first_byte_s
            ) as answer:
                if NOT_ANSWERED in answer.headers:
                    raise _Declined(worker.address, answer, await answer.rest())
                took_s = self._exchange.clock() - self._arrived
                self._exchange.metrics.first_byte_seconds.labels(self._wire.name).observe(took_s)
                if answer.status < 400 and self._is_stream(answer):
                    return await self._pass_stream(worker, answer, reply)
                return await self._pass_whole(answer, reply)
        except (WorkerUnreachable, WorkerLost):
            self._exchange.workers.lose(worker)
            raise

    def _is_stream(self, answer: Answer) -> bool:
        kind = answer.headers.get("Content-Type", "")
        return self._wire is not NATIVE or kind.startswith(sse.MEDIA_TYPE)

    async def _pass_whole(self, answer: Answer, reply: "_Reply") -> str:
        """Pass on an answer that is no stream, once all of it is here."""
        content = await answer.rest()
        if self._wire is not NATIVE:  # LLaVA's clients read nothing but records
            raise _remote_error(content, answer.status)
        await reply.whole(answer, content)
        if answer.status < 400:
            return "ok"
        return "refused" if answer.status < 500 else "failed"

    async def _pass_stream(self, worker: Worker, answer: Answer, reply: "_Reply") -> str:
        """Pass on whole records as they come; whatever happens, the last one ends the stream."""
        records = Records(self._wire)
        try:
            while received := await answer.next_bytes():
                if whole := records.feed(received):
                    await reply.start(answer.status, _passed_back(answer))
                    await reply.write(whole)
            if self._wire.end is not None and not records.has_ended:
                raise WorkerLost(worker.address, "it ended the stream too early")
        except WorkerLost as exc:
            if not reply.has_started:
                raise
            self._exchange.workers.lose(worker)
            if not records.has_ended:
                logger.warning("%s: %s", exc.code, exc.message)
                await reply.write(self._wire.encode_error(exc))
                await reply.end()
                return exc.code
        else:
            await reply.start(answer.status, _passed_back(answer))
            await reply.write(records.rest)
        await reply.end()
        return "failed" if records.has_failed else "ok"


class _Declined(Exception):
    """A worker's answer to a request of which it answered nothing: another may have it."""

    def __init__(self, address: str, answer: Answer, content: bytes) -> None:
        super().__init__(f"the worker at {address} answers nothing (HTTP {answer.status})")
        self.answer = answer
        self.content = content


class _Reply:
    """What this request's client has been sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False

    async def start(
        self, status: int, headers: list[tuple[bytes, bytes]], length: int | None = None
    ) -> None:
        """Send status and headers, the first time."""
        if self.has_started:
            return
        self.has_started = True
        if length is not None:
            headers = [*headers, (b"content-length", str(length).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def whole(self, answer: Answer, content: bytes) -> None:
        """Send all of an answer; `content` is its body."""
        await self.start(answer.status, _passed_back(answer), len(content))
        await self.write(content)
        await self.end()

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _unless_client_leaves(work: Coroutine[None, None, str], receive: Receive) -> str | None:
    """Return the work's result; None where the client left first and the work was cancelled."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_client_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _old_headers(error: ServeError) -> list[tuple[bytes, bytes]]:
    headers = {"content-type": "application/octet-stream", **error.headers}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _passed_back(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.headers.items()
        if name.lower() not in _NOT_PASSED_BACK
    ]


def _remote_error(content: bytes, status: int) -> RemoteError:
    try:
        return RemoteError.from_body(json.loads(content), status)
    except ValueError:
        return RemoteError.from_body(content.decode(errors="replace"), status)
