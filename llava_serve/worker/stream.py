"""Streamed responses: deltas are written while the engine generates.

The stream writer here is the second place where an error becomes an answer: status 200 is out
already, so the error is the last thing in the stream.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve.errors import EngineFailure, Interrupted, OutOfMemory, ServeError
from llava_serve.http import stopping
from llava_serve.protocol.resume import RESUME, mark
from llava_serve.request import Delta
from llava_serve.worker.generation import Generation
from llava_serve.worker.resumption import Resumption

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 5.0


class GenerationResponse(Response, ABC):
    """A response that runs its generation itself, and cancels it when the client leaves."""

    def __init__(self, generation: Generation, headers: Mapping[str, str]) -> None:
        self.generation = generation
        self._tally = generation.tally
        self.status_code = 200
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Generate and write, until the client leaves."""
        with suppress(ClientDisconnect):  # nobody is there to be answered
            async with self.generation.running(receive):
                await self.write(scope, receive, send)

    @abstractmethod
    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the whole response; what it raises before the headers becomes an error answer."""


class StreamedResponse(GenerationResponse):
    """Writes deltas in the format of one wire.

    The headers wait for the first delta, at most `keep_alive_s`: an error before them has a real
    HTTP status, unless the wire wants `errors_in_stream` only. With a `resumption` marks between
    the records tell the tokens.
    """

    errors_in_stream = False
    separator: bytes  # behind each record

    def __init__(
        self,
        generation: Generation,
        headers: Mapping[str, str],
        keep_alive_s: float,
        resumption: Resumption | None = None,
    ) -> None:
        super().__init__(generation, headers)
        self._keep_alive_s = keep_alive_s
        self._tells_tokens = resumption is not None
        if resumption is not None:
            self.headers[RESUME] = str(resumption.created)
        self._has_headers = False

    async def write(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            last = await self._write_deltas(send)
        except ClientDisconnect:
            raise
        except Exception as exc:
            if not self._has_headers and not self.errors_in_stream:
                raise
            error = _as_serve_error(exc)
            self.headers.update(error.headers)  # to be seen where they are not sent yet
            last = self._usage() + self.failure(error)
        await self._send(send, last, more_body=False)

    async def _write_deltas(self, send: Send) -> bytes:
        """Return what ends the stream.

        Raises:
            Interrupted: the process has no more time for this answer.
        """
        try:
            async for delta in self.generation.read(self._keep_alive_s):
                await self._send(send, self._marked(delta))
        except asyncio.CancelledError as exc:
            if not stopping.is_end_of_grace(exc):
                raise
            raise Interrupted from exc
        return self.end()

    def _marked(self, delta: Delta | None) -> bytes:
        """Return the records of a delta, the usage and their mark; the last ones have none."""
        records = self.keep_alive() if delta is None else self.encode(delta)
        if delta is not None and self._tally is not None and self._tally.add(delta):
            records += self._usage()
        if not self._tells_tokens or (delta is not None and delta.finish_reason is not None):
            return records
        return records + mark(() if delta is None else delta.tokens, self.separator)

    def _usage(self) -> bytes:
        so_far = self._tally and self._tally.so_far
        return so_far.as_record(self.separator) if so_far else b""

    async def _send(self, send: Send, body: bytes, more_body: bool = True) -> None:
        if not self._has_headers:
            self._has_headers = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body, "more_body": more_body})

    @abstractmethod
    def encode(self, delta: Delta) -> bytes:
        """Return the records of one delta."""

    @abstractmethod
    def keep_alive(self) -> bytes:
        """Return bytes that show a client in silence that its answer is still being generated."""

    @abstractmethod
    def end(self) -> bytes:
        """Return what ends a complete answer."""

    @abstractmethod
    def failure(self, error: ServeError) -> bytes:
        """Return the one record that ends an answer that failed."""


def _as_serve_error(exc: Exception) -> ServeError:
    """Log what ended a stream; what the caller may not see becomes `EngineFailure`."""
    if isinstance(exc, Interrupted) or (isinstance(exc, ServeError) and exc.status < 500):
        logger.info("%s: %s", exc.code, exc.message)
        return exc
    logger.error("the answer failed", exc_info=exc)
    if isinstance(exc, ServeError):
        return exc
    if isinstance(exc, MemoryError):
        return OutOfMemory.of_process()
    return EngineFailure("an internal error; its cause is in the log")
