"""Settings of TLS: the certificate that a command shows, and the authorities that it trusts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True, kw_only=True)
class TrustConfig:
    """The authorities that a command trusts when it calls over TLS."""

    ca_file: Annotated[
        Path | None,
        "PEM file of the authorities whose certificates to trust at https:// addresses; default: "
        "the system's",
    ] = None


@dataclass(frozen=True, kw_only=True)
class TlsConfig(TrustConfig):
    """Certificates of a command that listens: its own, and those it trusts."""

    tls_cert: Annotated[
        Path | None, "PEM file of the certificate to serve TLS with, and of what it was signed by"
    ] = None
    tls_key: Annotated[Path | None, "PEM file of the certificate's key, not encrypted"] = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key must be given together")

    @property
    def scheme(self) -> str:
        """What the address of this command begins with."""
        return "http" if self.tls_cert is None else "https"
