"""Limits of one connection: its entry in the table, how long a request's head may take, its size.

uvicorn bounds neither, so its HTTP protocol is extended here, where a connection
begins, brings bytes, has brought a whole head and a whole request, and has been answered.
"""

import asyncio
import fcntl
import logging
import struct
import termios
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from llava_serve.errors import (
    HeadersTimeout,
    HeadersTooLarge,
    ServeError,
    TooManyConnections,
)
from llava_serve.http.connections import ConnectionTable
from llava_serve.http.protocol import HttpProtocol, refusal

logger = logging.getLogger(__name__)

_REFUSED_AT_ONCE = 64  # connections beyond the limit that are open to be told so
_DRAIN_S = 10.0  # for the rest of a body that nobody wants: a closed socket would lose the answer
# What a client takes at least of an answer that waits for it: a sixth of what the slowest mobile
# network (GPRS) brings it, and enough to tell it from one that takes nothing.
_LEAST_BYTES_PER_S = 1_000


class BoundedProtocol(HttpProtocol):
    """One connection under the limits of a table."""

    def __init__(self, table: ConnectionTable, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.address = ""
        self.refusal: ServeError | None = None  # the answer to every request
        self._table = table
        self._is_counted = False
        self._is_refused = False
        self._has_head = False  # of the request that it is at
        self._is_message_complete = True
        self._bodyless_bytes = 0  # since a request began, or since the last byte of its body
        self._untimely_bytes = 0  # that came behind a request before its answer was complete
        self._cycles: list[RequestResponseCycle] = []  # requests whose answers are not complete
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.address = self.client[0] if self.client else ""
        self._is_counted = self._table.add(self)
        if not self._is_counted:
            self._is_refused = True
            self.refusal = TooManyConnections()
            self._table.refused += 1
            logger.warning("too many connections (%d): one is refused", self._table.count)
            if self._table.refused > _REFUSED_AT_ONCE:
                self.answer_and_close(TooManyConnections())
                return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        self.resume_writing()
        self._uncount()
        if self._is_refused:
            self._is_refused = False
            self._table.refused -= 1
        super().connection_lost(exc)
        for cycle in self._cycles:  # uvicorn tells only the last one
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def pause_writing(self) -> None:
        """Begin to wait for a client that has not taken what there is of its answer."""
        super().pause_writing()
        self._expect_reading()

    def _expect_reading(self) -> None:
        unread_s = self._table.limits.unread_s
        self._unread = self.loop.call_later(unread_s, self._check_reading, self._untaken_bytes())

    def _check_reading(self, untaken_before: int) -> None:
        """Cut off a client that has taken next to nothing; one that reads on gets it all."""
        taken = untaken_before - self._untaken_bytes()
        if taken < self._table.limits.unread_s * _LEAST_BYTES_PER_S:
            self.transport.abort()
        else:
            self._expect_reading()

    def _untaken_bytes(self) -> int:
        """Return what was written and has not arrived: here, and in the system's own buffer.

        The system takes no more before a good part of its megabytes has gone out, which a slow
        client may need minutes for.
        """
        in_system = bytes(4)
        with suppress(OSError, ValueError):  # not every system tells
            connection = self.transport.get_extra_info("socket")
            in_system = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, in_system)
        return self.transport.get_write_buffer_size() + int(struct.unpack("i", in_system)[0])

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def give_way(self) -> None:
        """Close a connection that waits for its client, because a new one needs the room."""
        self._uncount()
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._is_answering:
            self._receive_untimely(data)
            return
        self._bodyless_bytes += len(data)
        if not self._has_head:
            if self._deadline is None:
                self._expect_head()
            data = self.without_upgrade(data)
        self._note_waiting()
        super().data_received(data)
        if self._bodyless_bytes <= (limit := self._table.limits.header_bytes):
            return
        if self._has_head:  # between the chunks of a body, or behind them
            self.transport.close()
        else:
            self.answer_and_close(HeadersTooLarge(limit))

    def _receive_untimely(self, data: bytes) -> None:
        """Leave a request unread that does not wait for the answer to the one before it.

        Its client has to send it again, because the connection ends with that answer. Reading goes
        on all the same: only so is it seen when the client leaves.
        Source: RFC 9112, section 9.3.2.
        """
        self.cycle.keep_alive = False
        self._untimely_bytes += len(data)
        if self._untimely_bytes > self._table.limits.header_bytes:
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        self._bodyless_bytes = 0
        super().on_body(body)
        if self.flow.read_paused:  # the body waits, for its reader or its part of the memory
            self._table.mark_busy(self)

    def on_headers_complete(self) -> None:
        self._cancel_deadline()
        self.app = self.config.loaded_app
        self._has_head, self._is_message_complete = True, False
        self._bodyless_bytes = 0
        limit = self._table.limits.header_bytes
        if self.refusal is not None:
            self.app = refusal(self.refusal)
        elif sum(len(name) + len(value) for name, value in self.headers) > limit:
            self.app = refusal(HeadersTooLarge(limit))
        super().on_headers_complete()
        self._cycles.append(self.cycle)

    def on_message_complete(self) -> None:
        self._is_message_complete = True
        if not self.cycle.response_complete:
            self._table.mark_busy(self)
        elif self._has_head and not self.pipeline:
            self._become_idle()
            self._expect_head()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete]
        is_open = not self.cycle.response_complete  # the next one, which uvicorn has begun
        if self.transport.is_closing() or self.pipeline or is_open:
            return
        if self._is_message_complete:
            self._become_idle()
        else:
            self._note_waiting()
            self._unset_keepalive_if_required()
            self._start_deadline(_DRAIN_S, self.transport.close)

    def _become_idle(self) -> None:
        self._cancel_deadline()
        self._has_head, self._bodyless_bytes = False, 0
        self._note_waiting()

    def _note_waiting(self) -> None:
        if self._is_counted and not self._is_answering:
            self._table.mark_idle(self)

    @property
    def _is_answering(self) -> bool:
        """Whether a whole request is here whose answer is not."""
        is_open = self.cycle is not None and not self.cycle.response_complete
        return is_open and self._is_message_complete

    def _expect_head(self) -> None:
        self._start_deadline(self._table.limits.header_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._bodyless_bytes:
            self.answer_and_close(HeadersTimeout(self._table.limits.header_s))
        else:
            self.transport.close()

    def _start_deadline(self, seconds: float, act: Any) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, act)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _uncount(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._table.remove(self)
