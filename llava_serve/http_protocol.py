"""HTTP below the apps: clients of HTTP/1.0, and bytes that are no HTTP."""

import json

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from llava_serve import logs
from llava_serve.errors import MalformedHttp


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


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which speaks HTTP/1.0 too and answers errors in our shape."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _UntilClose

    def send_400_response(self, msg: str) -> None:
        error = MalformedHttp(msg)
        body = json.dumps(error.as_body(logs.new_request_id())).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            b"content-type: application/json\r\n"
            b"content-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (len(body), body)
        )
        self.transport.close()
