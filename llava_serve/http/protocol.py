"""HTTP protocol below the apps: HTTP/1.0, the Host header, and bytes that are no HTTP."""

import asyncio
import re

from starlette.responses import JSONResponse
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from llava_serve import logs
from llava_serve.errors import MalformedHttp, ServeError
from llava_serve.http.error_response import error_response

_SMALL_BYTES = 65_536  # are copied sooner than written alone


class _UntilClose(RequestResponseCycle):
    """An answer to an HTTP/1.0 client: where its length is not known, the connection ends it.

    Such a client knows no chunks, and uvicorn sends them to it all the same.
    """

    _has_length = True

    async def send(self, message: Message) -> None:  # type: ignore[override]
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._has_length = b"content-length" in names
            self.chunked_encoding = None if self._has_length else False
        elif not self._has_length:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)  # type: ignore[arg-type]


class AnswerTransport:
    """The transport of one answer: its head goes out in one write with the body that is there.

    A head without a body waits until the loop's next turn, and no longer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None  # empty once it went out

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
            self._loop.call_soon(self._flush)
        elif self._head and len(data) <= _SMALL_BYTES:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        else:
            self._flush()
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._head and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head = b""


# Source: RFC 9110, section 7.8: a server that does not upgrade answers as if it were not asked to.
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which speaks HTTP/1.0 too and answers errors in our shape."""

    def without_upgrade(self, data: bytes) -> bytes:
        """Hide an offer of another protocol from the parser, which would drop the body behind it.

        `data` is the head of a request, or begins with it.
        """
        head, blank, body = data.partition(b"\r\n\r\n")
        return _UPGRADE.sub(b"\r\nx-upgrade:", head) + blank + body

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a field behind the body is none (RFC 9110, section 6.5.1)."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request; one of HTTP/1.1 has one `Host` (RFC 9112, section 3.2)."""
        self._is_in_head = False
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts != 1 and self.parser.get_http_version() == "1.1":
            reason = f"a request of HTTP/1.1 has one Host header, and this one has {hosts}"
            self.app = refusal(MalformedHttp(reason))
        super().on_headers_complete()
        self.cycle.transport = AnswerTransport(self.transport, self.loop)  # type: ignore[assignment]
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _UntilClose

    def send_400_response(self, msg: str) -> None:
        self.answer_and_close(MalformedHttp(msg))

    def answer_and_close(self, error: ServeError) -> None:
        """Answer what is no request, or not yet one; nothing is written into an open answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        answer = refusal(error)
        answer.headers["connection"] = "close"
        head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
        self.transport.write(STATUS_LINE[error.status] + head + b"\r\n" + bytes(answer.body))
        self.transport.close()


def refusal(error: ServeError) -> JSONResponse:
    """Return the answer that takes the app's place, under a request id of its own."""
    return error_response(error, logs.new_request_id())
