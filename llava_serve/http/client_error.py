"""Client errors: those of aiohttp in a few words, and those that another process answers with."""

import os

import aiohttp
from pydantic_core import from_json

from llava_serve.errors import ControllerUnreachable, ControllerUntrusted, RemoteError


def reason_of(error: aiohttp.ClientError | TimeoutError) -> str:
    """Say what failed; aiohttp's own texts say much or nothing."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "the connection was not accepted in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _reason_of_distrust(error)
    if isinstance(error, aiohttp.ClientSSLError):  # its number is TLS's own, and no `errno`
        return _reason_of_no_tls(error)
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


# OpenSSL's names of what a server sends that answers a TLS hello with plain HTTP.
# Source: openssl/openssl@openssl-3.0.0 include/openssl/sslerr.h.
_PLAIN = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_NOT_ITS_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def _reason_of_distrust(error: aiohttp.ClientConnectorCertificateError) -> str:
    failure = error.certificate_error
    code = getattr(failure, "verify_code", None)
    said = getattr(failure, "verify_message", None) or str(failure)
    if code in _NOT_ITS_NAME:
        return f"its certificate is not one for {error.host}: use a name that is in it"
    if code == _EXPIRED:
        return "its certificate has expired"
    return (
        f"its certificate is not trusted ({said}): name the file of the authority that signed it "
        "with --ca-file"
    )


def _reason_of_no_tls(error: aiohttp.ClientSSLError) -> str:
    if getattr(error.os_error, "reason", None) in _PLAIN:
        return "no TLS connection can be made: it speaks plain HTTP, so write http:// there"
    return f"no TLS connection can be made ({error.os_error})"


def controller_error(
    address: str, error: aiohttp.ClientError | TimeoutError
) -> ControllerUnreachable:
    """Return the error of a controller that could not be asked."""
    is_tls = isinstance(error, aiohttp.ClientSSLError)
    return (ControllerUntrusted if is_tls else ControllerUnreachable)(address, reason_of(error))


def remote_error(content: bytes, status: int) -> RemoteError:
    """Return the error that an answer is, whatever its body holds."""
    try:
        return RemoteError.from_body(from_json(content), status)
    except ValueError:
        return RemoteError.from_body(content.decode(errors="replace"), status)
