"""TLS certificates: those a process shows, read again when renewed, and those it trusts."""

import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography import x509

from llava_serve.errors import CommandError
from llava_serve.http.hosts import is_loopback
from llava_serve.renewed_files import RenewedFiles
from llava_serve.tls_config import TlsConfig

logger = logging.getLogger(__name__)


class Certificate(RenewedFiles[ssl.SSLContext]):
    """Certificate and key of a server; its content is what a new connection uses.

    Raises:
        CommandError: a file cannot be used; the message says why.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(partial(_server_context, certificate, key), certificate, key)


@dataclass(frozen=True, slots=True)
class Tls:
    """What a process shows to those who call it, None without TLS, and how it checks others."""

    certificate: Certificate | None
    trust: ssl.SSLContext

    @classmethod
    def of(cls, config: TlsConfig) -> "Tls":
        """Read the files of `config`. Raises: CommandError."""
        if config.tls_cert is None or config.tls_key is None:
            return cls(None, trust(config.ca_file))
        return cls(Certificate(config.tls_cert, config.tls_key), trust(config.ca_file))

    @classmethod
    def of_or_exit(cls, config: TlsConfig) -> "Tls":
        """Read the files of `config`. Raises: SystemExit, with the reason."""
        try:
            return cls.of(config)
        except CommandError as exc:
            raise SystemExit(exc.with_remedy) from exc


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return what checks the certificates of servers: the authorities in a file, or the system's.

    Raises:
        CommandError: the file cannot be used; the message says why.
    """
    if ca_file is None:
        return _trusting()
    _require_file(ca_file, "--ca-file")
    try:
        return _trusting(ca_file)
    except ssl.SSLError as exc:
        raise CommandError(
            f"--ca-file {ca_file} holds no certificates: {exc.reason or exc}",
            "Give the PEM file of the authority that signed the certificates of the other "
            "processes.",
        ) from exc


class _ServerTrust(ssl.SSLContext):
    """Checks that a server's certificate names its host, except for hosts on loopback.

    Nobody on the network can stand in for those, and a certificate rarely names them.
    """

    nameless: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        is_near = isinstance(server_hostname, str) and is_loopback(server_hostname)
        wrap = self.nameless.wrap_bio if is_near else super().wrap_bio
        return wrap(incoming, outgoing, server_side, server_hostname, session)


def _trusting(ca_file: Path | None = None) -> ssl.SSLContext:
    context = _ServerTrust(ssl.PROTOCOL_TLS_CLIENT)
    context.nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.nameless.check_hostname = False
    for one in (context, context.nameless):
        if ca_file is None:
            one.load_default_certs()
        else:
            one.load_verify_locations(ca_file)
    return context


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    _require_file(certificate, "--tls-cert")
    _require_file(key, "--tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_encrypted)
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except _EncryptedKey as exc:
        raise CommandError(
            f"--tls-key {key} is encrypted, and there is nobody to type its password",
            f"Write it without one, readable by its owner only: openssl pkey -in {key} -out FILE.",
        ) from exc
    except (ssl.SSLError, ValueError) as exc:
        raise _unusable(certificate, key, exc) from exc
    _warn_of_dates(certificate, first)
    return context


class _EncryptedKey(Exception):
    """A key asks for its password."""


def _refuse_encrypted() -> str:
    raise _EncryptedKey


def _unusable(certificate: Path, key: Path, error: Exception) -> CommandError:
    reason = getattr(error, "reason", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return CommandError(
            f"--tls-key {key} is not the key of the certificate in --tls-cert {certificate}",
            "Give the two files that were made together; the certificate itself stands first.",
        )
    return CommandError(
        f"--tls-cert {certificate} and --tls-key {key} cannot be used: {reason}",
        "Both must be PEM files: the certificate with what it was signed by, and its private key.",
    )


def _warn_of_dates(file: Path, certificate: x509.Certificate) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins <= datetime.now(UTC) <= ends:
        logger.warning(
            "the certificate in %s is valid from %s to %s, and so not today: nobody accepts it",
            file,
            f"{begins:%Y-%m-%d}",
            f"{ends:%Y-%m-%d}",
        )


def _require_file(path: Path, flag: str) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as exc:
        raise CommandError(
            f"{flag} {path} cannot be read: {exc.strerror}",
            "Name a file that is there and that the user of this process may read.",
        ) from exc
