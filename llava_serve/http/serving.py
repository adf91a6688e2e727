"""Serving of an app under uvicorn: request ids, errors, limits, graceful stop.

The exception handlers here are one of the two places where an error becomes an answer; the other
is the stream writer of `worker.stream`, where status 200 is already out.
"""

import asyncio
import logging
import math
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve import logs
from llava_serve.errors import (
    EngineFailure,
    InvalidField,
    NoSuchRoute,
    OutOfMemory,
    ServeError,
)
from llava_serve.http import heap, json_body, stopping
from llava_serve.http.body import BodyLimits, BoundedBody
from llava_serve.http.bounded_protocol import BoundedProtocol
from llava_serve.http.connections import (
    ConnectionLimits,
    ConnectionTable,
    raise_descriptor_limit,
)
from llava_serve.http.cross_origin import CrossOrigin, Origins, make_readable
from llava_serve.http.error_response import error_response
from llava_serve.http.head_requests import HeadRequests
from llava_serve.http.shaped_errors import ShapedErrors
from llava_serve.http.tls import Certificate
from llava_serve.http.tls_protocol import TlsProtocol

logger = logging.getLogger(__name__)

_INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended

GRACE_S = 20.0  # time that open streams have after SIGTERM
_LOOKUP_THREADS = 64  # all begin with the first name that is looked up
# FastAPI's own, which looks for receivers at each request. What we trace, `tracing` knows.
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class RequestScope:
    """Middleware: gives each request its id, in the log and in `X-Request-ID`.

    An id that the client sent is kept, so that one request has one id on every hop.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else logs.new_request_id()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("X-Request-ID", request_id)
            await send(message)

        token = logs.request_id.set(request_id)
        await self._app(scope, receive, send_with_id)
        # Not in a `finally`: what is raised here is answered and logged further out, by this id.
        logs.request_id.reset(token)


def log_error(error: ServeError) -> None:
    """Write down an error that a user is told of; one that the user can fix is no warning."""
    level = logging.INFO if error.status < 500 else logging.WARNING
    logger.log(level, "%s: %s", error.code, error.message)


def prepare(app: FastAPI, limits: BodyLimits, origins: Origins | None = None) -> None:
    """Give `app` what every app of ours has: request ids, bounded bodies, errors as JSON.

    Pages of other `origins` may read what it answers.
    """
    app.router.route_class = json_body.JsonRoute
    app.add_middleware(BoundedBody, limits=limits)
    app.add_middleware(stopping.InterruptedAnswers)
    app.add_middleware(HeadRequests)
    if origins:
        app.add_middleware(CrossOrigin, origins=origins)
    app.add_middleware(RequestScope)
    app.add_middleware(ShapedErrors)

    @app.exception_handler(ServeError)
    async def on_serve_error(_: Request, exc: ServeError) -> JSONResponse:
        log_error(exc)
        return error_response(exc)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, exc: RequestValidationError) -> JSONResponse:
        first = exc.errors()[0]
        path = ".".join(str(at) for at in first["loc"] if at != "body")
        return await on_serve_error(request, InvalidField(path or "body", first["msg"]))

    @app.exception_handler(ClientDisconnect)
    async def on_client_left(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=499)  # it left while it sent its request: nobody reads this

    @app.exception_handler(HTTPException)
    async def on_route_error(request: Request, exc: HTTPException) -> Response:
        if isinstance(exc.__cause__, ServeError):  # raised while FastAPI itself read the body
            return await on_serve_error(request, exc.__cause__)
        if exc.status_code not in (404, 405):
            return await http_exception_handler(request, exc)
        missing = NoSuchRoute(request.method, request.url.path, exc.status_code)
        answer = await on_serve_error(request, missing)
        answer.headers.update(exc.headers or {})  # `Allow`, with 405
        return answer

    @app.exception_handler(MemoryError)
    async def on_no_memory(request: Request, _: MemoryError) -> JSONResponse:
        return await on_serve_error(request, OutOfMemory.of_process())

    @app.exception_handler(Exception)
    async def on_bug(request: Request, exc: Exception) -> ShapedErrors:
        # Starlette's outermost layer logs the traceback when it raises the error again.
        answer = error_response(EngineFailure("an internal error; its cause is in the log"))
        # Written here: this answer passes none of the middleware.
        answer.headers["X-Request-ID"] = logs.request_id.get()
        return ShapedErrors(make_readable(request.scope, answer))


BeforeStop = Callable[[], Awaitable[None]]


class _GracefulServer(uvicorn.Server):
    """Calls `before_stop` when a stop was asked for, while open streams still run.

    What runs for longer than `grace_s` after that is cut, and ends with the error of `stopping`.
    """

    def __init__(
        self, config: uvicorn.Config, before_stop: BeforeStop | None, grace_s: float = GRACE_S
    ) -> None:
        super().__init__(config)
        self._before_stop = before_stop
        self._grace_s = grace_s

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with heap.trimmed():
            await super().serve(sockets=sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if running := len(self.server_state.tasks):
            logger.info("stopping: %d requests may run on for %g s", running, self._grace_s)
        if self._before_stop is not None:
            await self._before_stop()
        async with stopping.grace(self.server_state.tasks, self._grace_s):
            await super().shutdown(sockets=sockets)


class _GuestServer(_GracefulServer):
    """Leaves the signals of the process to whoever runs the loop."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(
    app: FastAPI,
    limits: ConnectionLimits,
    certificate: Certificate | None,
    grace_s: float = GRACE_S,
) -> uvicorn.Config:
    table = ConnectionTable(limits)

    def protocol(**uvicorns: Any) -> asyncio.Protocol:
        inner = BoundedProtocol(table, **uvicorns)
        return inner if certificate is None else TlsProtocol(inner, certificate.content())

    return uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who calls is who connects: anyone can write `X-Forwarded-For`
        timeout_graceful_shutdown=math.ceil(grace_s) + stopping.FINAL_WRITE_S,
        lifespan="on",
    )


def allow_many_lookups() -> None:
    """Let uvloop look up many names at once; call it before there is a loop.

    Of its four threads two at most look up names, for which connections to IP addresses wait too:
    two names whose server is silent would hold up every new connection. Each thread takes 8 MB of
    what a process may have of data, so a model worker, which connects to few hosts, does without.
    Source: https://docs.libuv.org/en/v1.x/threadpool.html
    """
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(_LOOKUP_THREADS))


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the port is taken, or the host is none of this machine's.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=2048)


def run(
    app: FastAPI,
    host: str,
    port: int,
    before_stop: BeforeStop | None = None,
    certificate: Certificate | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; with a certificate over TLS.

    The socket listens before the app's start-up runs, so what start-up announces is reachable.

    Raises:
        SystemExit: the address cannot be listened on, and the message says why; or Ctrl-C came.
    """
    with bind_or_exit(host, port) as listening:
        logger.info("listening on %s://%s:%d", _scheme(certificate), host, port)
        limits = ConnectionLimits.of_descriptors(raise_descriptor_limit())
        try:
            _GracefulServer(_config(app, limits, certificate), before_stop).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn passes it on once everything is shut down
            raise SystemExit(_INTERRUPTED) from None


def _scheme(certificate: Certificate | None) -> str:
    return "http" if certificate is None else "https"


def why_not_bound(error: OSError) -> str:
    """Say why `bind` failed, without the address, which Python repeats."""
    return (error.strerror or str(error)).partition(" (while attempting")[0]


def bind_or_exit(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        SystemExit: the address cannot be listened on; the message says why.
    """
    try:
        return bind(host, port)
    except OSError as exc:
        raise SystemExit(
            f"cannot listen on {host}:{port}: {why_not_bound(exc)}. "
            "Stop the program that uses the port, or choose another with --port."
        ) from exc


@asynccontextmanager
async def served(  # noqa: PLR0913 - each has a default that stands for most
    app: FastAPI,
    before_stop: BeforeStop | None = None,
    port: int = 0,
    limits: ConnectionLimits | None = None,
    grace_s: float = GRACE_S,
    certificate: Certificate | None = None,
) -> AsyncIterator[str]:
    """Serve `app` on a free loopback port inside this loop; yield its address."""
    limits = limits or ConnectionLimits.of_descriptors(raise_descriptor_limit())
    with bind("127.0.0.1", port) as listening:
        config = _config(app, limits, certificate, grace_s)
        server = _GuestServer(config, before_stop, grace_s)
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="serving")
        try:
            while not server.started:
                if serving.done():
                    raise RuntimeError("start-up failed; the log says why")
                await asyncio.sleep(0.01)
            yield f"{_scheme(certificate)}://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
