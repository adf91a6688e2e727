"""Client errors: those of aiohttp in a few words, and those that another process answers with."""

import json
import os

import aiohttp

from llava_serve.errors import RemoteError


def reason_of(error: aiohttp.ClientError | TimeoutError) -> str:
    """Say what failed; aiohttp's own texts say much or nothing."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "the connection was not accepted in time"
    if isinstance(error, aiohttp.ClientSSLError):  # its number is TLS's own, and no `errno`
        return f"no TLS connection can be made ({error.os_error})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"its host name is unknown ({error.os_error.strerror or error.os_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number else str(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "the connection was closed"
    if isinstance(error, aiohttp.ClientOSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def remote_error(content: bytes, status: int) -> RemoteError:
    """Return the error that an answer is, whatever its body holds."""
    try:
        return RemoteError.from_body(json.loads(content), status)
    except ValueError:
        return RemoteError.from_body(content.decode(errors="replace"), status)
