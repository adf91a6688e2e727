"""Certificates of a CA that a test makes."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """A CA, whose certificate is in `ca_file`, and what it signs, in files below `folder`."""

    folder: Path
    ca: trustme.CA
    ca_file: Path

    @classmethod
    def made(cls, folder: Path) -> "Certificates":
        folder.mkdir(parents=True, exist_ok=True)
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        return cls(folder, ca, folder / "ca.pem")

    def issue(self, *names: str, file: str = "server", until: datetime | None = None) -> list[Path]:
        """Write a certificate for `names`, and its key; return the two files."""
        issued = self.ca.issue_cert(*names, not_after=until)
        paths = [self.folder / f"{file}.pem", self.folder / f"{file}.key"]
        paths[0].write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        paths[1].write_bytes(issued.private_key_pem.bytes())
        return paths
