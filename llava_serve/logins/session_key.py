"""Session key of the page: seals what cookies hold, and makes opaque names of users."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from llava_serve.cluster_token import make_token
from llava_serve.errors import CommandError
from llava_serve.logins.user import User

FILE_NAME = "page-session-key"
_OPAQUE_CHARACTERS = 32
_LEAST = 32  # characters of the key
_REMEDY = "Delete it to have a new one made: everybody signs in anew then."


class SessionKey:
    """Seals and opens; what is sealed can be read and changed by nobody else."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        key = base64.urlsafe_b64encode(hashlib.sha256(b"cookies " + self._secret).digest())
        self._fernet = Fernet(key)

    @classmethod
    def in_folder(cls, state_dir: Path) -> "SessionKey":
        """Return the key of a state folder, which is made on first use.

        Raises:
            CommandError: it cannot be made or read; the message says why.
        """
        path = state_dir / FILE_NAME
        try:
            if not path.exists():
                make_token(path)
            secret = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise CommandError(f"{path} cannot be used: {exc}", _REMEDY) from exc
        if len(secret) < _LEAST:
            raise CommandError(f"{path} holds no key of the page's sessions", _REMEDY)
        return cls(secret)

    def seal(self, content: Any) -> str:
        """Return JSON `content` as a text for a cookie, with the time of now in it."""
        return self._fernet.encrypt(json.dumps(content).encode()).decode()

    def open(self, sealed: str | None, lasts_s: int) -> Any:
        """Return what was sealed at most so long ago; None of everything else."""
        try:
            return json.loads(self._fernet.decrypt((sealed or "").encode(), ttl=lasts_s))
        except InvalidToken:
            return None

    def user(self, owner: str, name: str, stamp: str = "") -> User:
        """Return the user with the opaque name that goes with `owner`."""
        digest = hmac.digest(self._secret, b"user " + owner.encode(), "sha256").hex()
        return replace(User(owner, name, stamp), opaque=digest[:_OPAQUE_CHARACTERS])
