"""Auth file of the page: a line `user:hash` for each who may sign in."""

import os
import re
import tempfile
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.logins.passwords import is_hash

_NAME = re.compile(r"[\w.@+-]{1,64}")
_REMEDY = "`python -m llava_serve.page_users add NAME --auth-file FILE` writes it."


def check_name(name: str) -> None:
    """Raises: CommandError, when nobody can be called that."""
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} is no name of a user",
            "Use at most 64 letters, digits and any of . _ - + @ in it.",
        )


def read_users(path: Path) -> dict[str, str]:
    """Return the hash of each user's password; blank lines and comments (#) are left out.

    Raises:
        CommandError: the file cannot be read, or a line is wrong; the message says which.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise CommandError(f"the users in {path} cannot be read: {reason}", _REMEDY) from exc
    users: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        name, _, hash_ = line.partition(":")
        if not _NAME.fullmatch(name) or not is_hash(hash_) or name in users:
            reason = "names a user a second time" if name in users else "is no `user:hash`"
            raise CommandError(f"line {number} of {path} {reason}", f"Delete the line. {_REMEDY}")
        users[name] = hash_
    return users


def write_users(path: Path, users: dict[str, str]) -> None:
    """Replace the file as a whole, for its owner's eyes only.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.writelines(f"{name}:{hash_}\n" for name, hash_ in users.items())
            Path(draft).replace(path)
        finally:
            Path(draft).unlink(missing_ok=True)
    except OSError as exc:
        raise CommandError(
            f"{path} cannot be written: {exc.strerror}", "Name another file with --auth-file."
        ) from exc
