"""Cluster token: the secret that workers register with, in a file only its owner can read."""

import hashlib
import logging
import os
import secrets
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

TOKEN_FILE = "cluster-token"
API_KEY_FILE = "api-key"  # beside it: the first key of a controller that asks for keys


def token_file(chosen: Path | None, state_dir: Path) -> Path:
    """Return the file of `--cluster-token-file`, by default the one in the state folder."""
    return chosen if chosen is not None else state_dir / TOKEN_FILE


def read_token(path: Path) -> str:
    """Return the token in `path`, which is made on first use.

    Workers and the controller may all start at once: they end up with the same token, and the one
    that made it logs it.

    Raises:
        SystemExit: the file cannot be made or read, or holds no token; the message says why.
    """
    try:
        made = not path.exists() and make_token(path)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SystemExit(
            f"cannot use {path} as the cluster token: {exc}. "
            "Name another file with --cluster-token-file."
        ) from exc
    if not token or not token.isprintable() or " " in token:
        raise SystemExit(
            f"{path} holds no cluster token: it must be one line of printable characters without "
            "spaces. Delete the file to have a new one made, or name another one with "
            "--cluster-token-file."
        )
    if made:
        logger.info(
            "made the cluster token %s in %s; a worker on another machine needs a copy of the file",
            token,
            path,
        )
    return token


def make_token(path: Path) -> bool:
    """Write a new token to `path`; False where a file is there already."""
    return write_secret(path, secrets.token_urlsafe(32))


def write_secret(path: Path, text: str) -> bool:
    """Write `text` to a new file with mode 0600; False where a file is there already.

    The file appears complete or not at all: it is written under another name and then linked,
    which fails when somebody else was faster.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        Path(draft).unlink()
    return True


def bearer(token: str) -> dict[str, str]:
    """Return the header that shows `token`."""
    return {"Authorization": f"Bearer {token}"}


def is_shown(token: str, authorization: str | None) -> bool:
    """Tell whether an `Authorization` header shows `token`, in time that tells nothing of it."""
    expected = bearer(token)["Authorization"]
    return secrets.compare_digest((authorization or "").encode(), expected.encode())


def digest(token: str) -> str:
    """Return what tells clusters apart without telling their tokens."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]
