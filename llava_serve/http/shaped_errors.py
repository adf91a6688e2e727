"""Errors in the shape of a request's protocol, whichever layer answers them."""

from typing import Any

from pydantic_core import from_json, to_json
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve.protocol.error_shape import ErrorShape, SourceOf, error_shape_of, with_source

_SOURCES = "llava_serve.sources"  # what was added last is asked first


def add_source(request: Request, source_of: SourceOf) -> None:
    """Let errors be about fields as they were called before the body became another one."""
    request.scope[_SOURCES] = (source_of, *request.scope.get(_SOURCES, ()))


def as_sent(body: Any, scope: Scope) -> Any:
    """Return the body of an error, about the field as the client of the request wrote it."""
    for source_of in scope.get(_SOURCES, ()):
        body = with_source(body, source_of)
    return body


class ShapedErrors:
    """Middleware: an error answer of the native wire becomes one of the protocol of its path.

    It stands outside of all that refuses requests, so that no route and no guard needs to know of
    other protocols. Errors within a stream are its writer's. The request's id, which `RequestScope`
    gave it, stands in `Request-Id` too, where clients of other protocols look for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shape = error_shape_of(scope["path"]) if scope["type"] == "http" else None
        shaped = send if shape is None else _Shaped(shape, scope, send).send
        await self._app(scope, receive, shaped)


class _Shaped:
    """One answer; the start of an error waits for its body."""

    def __init__(self, shape: ErrorShape, scope: Scope, send: Send) -> None:
        self._shape = shape
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Request-Id"] = headers.get("X-Request-ID", "")
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_shaped(self._start)

    async def _send_shaped(self, start: Message) -> None:
        try:
            told = from_json(self._body)
        except ValueError:
            told = self._body.decode(errors="replace")
        body = to_json(self._shape(as_sent(told, self._scope), start["status"]))
        headers = MutableHeaders(scope=start)
        headers["Content-Type"] = "application/json"
        headers["Content-Length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})
