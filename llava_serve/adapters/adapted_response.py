"""Adapted response: the answer to a chat completion, on its way out, in the words of a protocol."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import from_json, to_json
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from llava_serve.adapters.adapter import AdaptWhole, EventAdapter, KeepAnswer
from llava_serve.errors import ServeError
from llava_serve.http.error_response import error_response
from llava_serve.http.shaped_errors import as_sent
from llava_serve.protocol import sse


class AdaptedResponse(Response):
    """A response that lets another one answer, and adapts what that sends.

    An error that has a status of its own passes: `ShapedErrors` gives it its protocol's shape.
    """

    def __init__(
        self,
        response: Response,
        adapt_whole: AdaptWhole,
        events: EventAdapter | None,
        keep: KeepAnswer | None = None,
    ) -> None:
        """Let `keep` have an answer before its client has the end of it."""
        super().__init__()
        self._keep = keep
        self._response = response
        self._adapt_whole = adapt_whole
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_error(error: ServeError) -> None:
            await error_response(error)(scope, receive, send)

        stream = _AdaptedStream(self._events, scope) if self._events else None
        outgoing = _Outgoing(self._adapt_whole, stream, send, send_error, self._keep)
        await self._response(scope, receive, outgoing.send)


class _Outgoing:
    """What goes out of one response: events as they come, or a whole answer once it is there."""

    def __init__(
        self,
        adapt_whole: AdaptWhole,
        stream: "_AdaptedStream | None",
        send: Send,
        send_error: Callable[[ServeError], Awaitable[None]],
        keep: KeepAnswer | None,
    ) -> None:
        self._keep = keep
        self._adapt_whole = adapt_whole
        self._stream = stream
        self._send = send
        self._send_error = send_error
        self._start: Message | None = None  # of a whole answer, which may become another one
        self._is_stream = False
        self._whole = bytearray()

    async def send(self, message: Message) -> None:
        """Take a message of the response that answers."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._stream is not None and self._is_stream:
            more_body = message.get("more_body", False)
            body = self._stream.feed(message.get("body", b""))
            if self._keep and (whole := self._stream.take_whole()) is not None:
                await self._keep(whole)
            if body or not more_body:
                await self._send({**message, "body": body})
        elif self._start is not None:
            self._whole += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_whole(self._start)
        else:
            await self._send(message)

    async def _begin(self, start: Message) -> None:
        headers = MutableHeaders(scope=start)
        if start["status"] >= 400:
            await self._send(start)
        elif headers.get("content-type", "").startswith(sse.MEDIA_TYPE) and self._stream:
            self._is_stream = True
            del headers["content-length"]  # an error that is all of a stream has one
            headers["content-type"] = self._stream.media_type
            await self._send(start)
        else:
            self._start = start

    async def _send_whole(self, start: Message) -> None:
        try:
            whole = self._adapt_whole(from_json(self._whole))
        except ServeError as exc:
            await self._send_error(exc)
            return
        if self._keep is not None:
            await self._keep(whole)
        body = to_json(whole)
        MutableHeaders(scope=start)["Content-Length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


class _AdaptedStream:
    """Events of chunks become those of a protocol."""

    def __init__(self, events: EventAdapter, scope: Scope) -> None:
        self.media_type = events.media_type
        self._events = events
        self._scope = scope
        self._decoder = sse.EventDecoder(self._add_comment)
        self._adapted = b""  # since the last feed

    def feed(self, body: bytes) -> bytes:
        """Take bytes of the stream; return the events that they make."""
        for data in self._decoder.feed(body):
            self._adapted += self._adapt(data)
        adapted, self._adapted = self._adapted, b""
        return adapted

    def take_whole(self) -> dict[str, Any] | None:
        """Return the body of the answer, once, when all of it has come."""
        whole, self._events.whole = self._events.whole, None
        return whole

    def _adapt(self, data: str) -> bytes:
        if data == sse.DONE:
            return self._events.end()
        chunk = from_json(data)
        if "error" in chunk:
            return self._events.adapt_error(as_sent(chunk, self._scope))
        return self._events.adapt_chunk(chunk)

    def _add_comment(self, comment: str) -> None:
        self._adapted += self._events.adapt_comment(comment)
