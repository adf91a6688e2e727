"""TLS protocol of one connection, between its socket and the HTTP protocol.

The connection is counted, and has the deadline of a head, from its first moment on: asyncio's own
TLS would tell the HTTP protocol of it only once the handshake is complete.
"""

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any

from llava_serve.errors import TlsExpected
from llava_serve.http.bounded_protocol import BoundedProtocol

logger = logging.getLogger(__name__)

_HANDSHAKE = 0x16  # the first byte of a TLS connection; that of an HTTP request is a letter
_SLICE_BYTES = 65_536


class TlsProtocol(asyncio.Protocol, asyncio.Transport):
    """The protocol of a socket, and the transport of `inner`.

    What is written before the handshake is complete goes nowhere: nobody could read it.
    """

    def __init__(self, inner: BoundedProtocol, context: ssl.SSLContext) -> None:
        super().__init__()
        self._inner = inner
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_plain: bool | None = None  # until the first byte
        self._is_shaken = False
        self._is_paused = False
        self._socket: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport  # type: ignore[assignment]
        self._inner.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._is_plain is None:
            self._is_plain = data[0] != _HANDSHAKE
            if self._is_plain:
                self._inner.refusal = TlsExpected()
        if self._is_plain:
            self._inner.data_received(data)
            return
        self._incoming.write(data)
        self._advance()

    def _advance(self) -> None:
        """Shake hands, and then hand on what has been decrypted."""
        try:
            if not self._is_shaken:
                self._tls.do_handshake()
                self._is_shaken = True
            while not (self._is_paused or self.is_closing()):
                if not (data := self._tls.read(_SLICE_BYTES)):  # the client has said its goodbye
                    self.close()
                    break
                self._inner.data_received(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            logger.debug("%s: TLS failed: %s", self._inner.address, exc)
            self._flush()  # it holds the alert that tells the client why
            self._socket.close()
            return
        self._flush()

    def _flush(self) -> None:
        if (data := self._outgoing.read()) and not self.is_closing():
            self._socket.write(data)

    def write(self, data: Any) -> None:
        if self._is_plain:
            self._socket.write(data)
        elif self._is_shaken and not self.is_closing():
            rest = memoryview(data)
            while rest:
                rest = rest[self._tls.write(rest) :]
            self._flush()

    def close(self) -> None:
        if self._is_shaken and not self.is_closing():
            with suppress(ssl.SSLError):  # it would wait for the client's goodbye
                self._tls.unwrap()
            self._flush()
        self._socket.close()

    def abort(self) -> None:
        self._socket.abort()

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._socket.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._is_paused = True
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        self._socket.resume_reading()
        if self._is_shaken:  # what had been decrypted comes first, and not from within this call
            asyncio.get_running_loop().call_soon(self._advance)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._context
        return self._socket.get_extra_info(name, default)
