"""Client errors: those of aiohttp in a few words, and those that another process answers with."""

import os
import socket
import ssl
from collections.abc import Mapping

import aiohttp
from pydantic_core import from_json

from llava_serve.errors import ControllerUnreachable, ControllerUntrusted, RemoteError
from llava_serve.errors.base import RETRY_AFTER

NOT_IN_TIME = "the connection was not accepted in time"


def reason_of(error: aiohttp.ClientError | TimeoutError) -> str:
    """Say what failed; aiohttp's own texts say much or nothing."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return NOT_IN_TIME
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _reason_of_distrust(error.certificate_error, error.host)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _reason_of_no_host(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return reason_of_refusal(error.os_error, error.host)
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "the connection was closed"
    if isinstance(error, aiohttp.ClientOSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def reason_of_refusal(error: OSError, host: str) -> str:
    """Say why no connection to `host` was made."""
    if isinstance(error, TimeoutError) and not error.errno:
        return NOT_IN_TIME
    if isinstance(error, ssl.CertificateError):
        return _reason_of_distrust(error, host)
    if isinstance(error, ssl.SSLError):  # its number is TLS's own, and no `errno`
        return _reason_of_no_tls(error)
    if isinstance(error, socket.gaierror):
        return _reason_of_no_host(error)
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _reason_of_no_host(error: OSError) -> str:
    return f"its host name is unknown ({error.strerror or error})"


# OpenSSL's names of what a server sends that answers a TLS hello with plain HTTP.
# Source: openssl/openssl@openssl-3.0.0 include/openssl/sslerr.h.
_PLAIN = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_NOT_ITS_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def _reason_of_distrust(failure: Exception, host: str) -> str:
    code = getattr(failure, "verify_code", None)
    said = getattr(failure, "verify_message", None) or str(failure)
    if code in _NOT_ITS_NAME:
        return f"its certificate is not one for {host}: use a name that is in it"
    if code == _EXPIRED:
        return "its certificate has expired"
    return (
        f"its certificate is not trusted ({said}): name the file of the very authority that signed "
        "it with --ca-file"
    )


def _reason_of_no_tls(error: ssl.SSLError) -> str:
    if error.reason in _PLAIN:
        return "no TLS connection can be made: it speaks plain HTTP, so write http:// there"
    return f"no TLS connection can be made ({error})"


def controller_error(
    address: str, error: aiohttp.ClientError | TimeoutError
) -> ControllerUnreachable:
    """Return the error of a controller that could not be asked."""
    is_tls = isinstance(error, aiohttp.ClientSSLError)
    return (ControllerUntrusted if is_tls else ControllerUnreachable)(address, reason_of(error))


def remote_error(
    content: bytes, status: int, headers: Mapping[str, str] | None = None
) -> RemoteError:
    """Return the error that an answer is, whatever its body holds, and how long it asks to wait."""
    try:
        error = RemoteError.from_body(from_json(content), status)
    except ValueError:
        error = RemoteError.from_body(content.decode(errors="replace"), status)
    if headers is not None and RETRY_AFTER in headers:
        error.headers = {**error.headers, RETRY_AFTER: headers[RETRY_AFTER]}
    return error
