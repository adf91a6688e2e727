"""Client errors of aiohttp in a few words: its own texts say much or nothing."""

import os

import aiohttp


def reason_of(error: aiohttp.ClientError | TimeoutError) -> str:
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
