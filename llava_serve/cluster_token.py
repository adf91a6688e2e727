"""Cluster token: the secret that workers register with, in a file only its owner can read."""

import hashlib
import logging
import secrets
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.secret_file import read_secret, write_secret

logger = logging.getLogger(__name__)

TOKEN_FILE = "cluster-token"
API_KEY_FILE = "api-key"  # beside it: the first key of a controller that asks for keys

_REMEDY = "Name another file with --cluster-token-file, or delete this one to have a new one made."


def token_file(chosen: Path | None, state_dir: Path) -> Path:
    """Return the file of `--cluster-token-file`, by default the one in the state folder."""
    return chosen if chosen is not None else state_dir / TOKEN_FILE


def read_token(path: Path) -> str:
    """Return the token in `path`, which is made on first use.

    Workers and the controller may all start at once: they end up with the same token, and the one
    that made it logs where it is: whoever reads a log must not become an operator.

    Raises:
        SystemExit: the file cannot be made or read, or holds no token; the message says why.
    """
    try:
        made = not path.exists() and make_token(path)
        token = read_secret(path, "the cluster token", _REMEDY)
    except OSError as exc:
        raise SystemExit(f"the cluster token cannot be kept in {path}: {exc}. {_REMEDY}") from exc
    except CommandError as exc:
        raise SystemExit(exc.with_remedy) from exc
    if made:
        logger.info(
            "made the cluster token in %s; a worker on another machine needs a copy of the file",
            path,
        )
    return token


def make_token(path: Path) -> bool:
    """Write a new token to `path`; False where a file is there already."""
    return write_secret(path, secrets.token_urlsafe(32))


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
