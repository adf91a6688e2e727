"""Body of a worker's answer: bytes, of which all that have arrived are read at once."""

import asyncio
from typing import Protocol

# Unread, from which on the sender has to wait; what one read of the socket brings may be on top.
_MOST_UNREAD_BYTES = 131_072
CLOSED = "the connection was closed"


class AnswerFailed(Exception):
    """No whole answer comes over a connection; the text says why."""


class Sender(Protocol):
    """The connection over which a body comes."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...


class AnswerBody:
    """What was received of one body and not read yet. One task reads it."""

    def __init__(self, sender: Sender, loop: asyncio.AbstractEventLoop) -> None:
        self._sender: Sender | None = sender  # until the end
        self._loop = loop
        self._received: list[bytes] = []
        self._unread_bytes = 0
        self.is_paused = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def is_eof(self) -> bool:
        """Tell whether all that will come is here."""
        return self._sender is None

    async def readany(self) -> bytes:
        """Return what has arrived, or wait for it; none at the end.

        Raises:
            AnswerFailed: all that arrived was read, and the rest will not come.
        """
        if not self._received and self._sender is not None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._received:
            if self._failure is not None:
                raise self._failure
            return b""
        data = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        self._unread_bytes = 0
        if self.is_paused and self._sender is not None:
            self.is_paused = False
            self._sender.resume_reading()
        return data

    def feed(self, data: bytes) -> None:
        self._received.append(data)
        self._unread_bytes += len(data)

    def wake(self) -> None:
        """Let the reader have what was fed, or its sender wait for the reader."""
        if self._waiter is not None and not self._waiter.done():
            if self._received or self._sender is None:  # a chunk's length may come alone
                self._waiter.set_result(None)
        elif self._unread_bytes > _MOST_UNREAD_BYTES and self._sender and not self.is_paused:
            self.is_paused = True
            self._sender.pause_reading()

    def end(self, failure: Exception | None = None) -> None:
        """Let nothing come behind what was fed."""
        self._sender, self._failure = None, failure
        self.wake()

    def set_exception(self, failure: Exception) -> None:
        """End the connection and tell the reader why, unless all is here."""
        if self._sender is not None:
            self._sender.abort()
            self.end(failure)

    def close(self) -> None:
        """End the connection, unless all is here."""
        self.set_exception(AnswerFailed(CLOSED))
