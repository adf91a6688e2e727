"""Logins by the passwords of the auth file."""

import asyncio
import hashlib
from functools import partial
from pathlib import Path

from llava_serve.errors import LoginFailed
from llava_serve.logins.attempts import FailedLogins
from llava_serve.logins.auth_file import read_users
from llava_serve.logins.passwords import hashed, is_password_of
from llava_serve.logins.session_key import SessionKey
from llava_serve.logins.user import User
from llava_serve.renewed_files import RenewedFiles

_AT_ONCE = 2  # each takes a core and 32 MiB


class PasswordLogins:
    """Users of the auth file, which is read again when it changes.

    Raises:
        CommandError: the file cannot be used at the start.
    """

    provider: None = None
    lasts_s = 7 * 24 * 3600

    def __init__(self, file: Path, key: SessionKey, failed: FailedLogins | None = None) -> None:
        self._users = RenewedFiles(partial(read_users, file), file)
        self._key = key
        self._failed = failed or FailedLogins()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._nobody = hashed("")  # what a name that is none is compared with: it takes as long

    async def sign_in(self, name: str, password: str, address: str) -> User:
        """Return the user of a name and a password that came from an address.

        Raises:
            LoginFailed: they do not go together.
            TooManyLogins: too many failed that came from there.
        """
        async with self._at_once:
            self._failed.check(address)
            hash_ = self._users.content().get(name)
            matches = await asyncio.to_thread(is_password_of, hash_ or self._nobody, password)
            if hash_ is None or not matches:
                self._failed.add(address)
                raise LoginFailed
        return self._key.user(name, name, _stamp(hash_))

    def admits(self, user: User) -> bool:
        """Tell whether a user is in the file, with the password they signed in with."""
        hash_ = self._users.content().get(user.owner)
        return hash_ is not None and _stamp(hash_) == user.stamp


def _stamp(hash_: str) -> str:
    return hashlib.sha256(hash_.encode()).hexdigest()[:16]
