"""What the client of one request has been sent, whichever workers it comes from."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive, Send

from llava_serve.cluster.upstream import Answer
from llava_serve.cluster.wire import NATIVE, Wire
from llava_serve.errors import ServeError

# Between two neighbours only, or written anew by this controller's own server.
_NOT_PASSED_BACK = {
    *("connection", "keep-alive", "transfer-encoding", "content-length"),
    *("date", "server", "x-request-id"),
}


class Reply:
    """Status and headers once, then records, and one end.

    A client that has seen signs of life only may still be given the answer of another worker:
    `has_started` says that the status is out, and not whose answer it will be.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False
        self._has_ended = False

    async def start(self, answer: Answer, length: int | None = None) -> None:
        """Send status and headers of `answer`, the first time."""
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.items()
            if name.lower() not in _NOT_PASSED_BACK
        ]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self._start(answer.status, headers)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.has_started:
            return
        self.has_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def whole(self, answer: Answer, content: bytes) -> None:
        """Send all of an answer; `content` is its body, or the last records of a stream."""
        await self.start(answer, len(content))
        await self.write(content)
        await self.end()

    async def fail(self, wire: Wire, error: ServeError) -> None:
        """End a stream with an error, unless it has ended.

        Raises:
            ServeError: this one, where the app can answer it with a status of its own.
        """
        if not self.has_started and wire is NATIVE:
            raise error
        if self._has_ended:
            return
        headers = {"content-type": "application/octet-stream", **error.headers}
        await self._start(200, [(name.encode(), value.encode()) for name, value in headers.items()])
        await self.write(wire.encode_error(error))
        await self.end()

    async def end(self) -> None:
        self._has_ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_client_leaves(work: Coroutine[None, None, str], receive: Receive) -> str | None:
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
