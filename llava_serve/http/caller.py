"""Caller of a request: the API key, the cluster's token or the address it came with."""

import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from llava_serve.api_key import ApiKey

USER_HEADER = "X-Llava-User"  # for whom the page asks: an opaque name, never a person's
_USER = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request.

    `key` is None where no key was asked for, and for insiders, who show the cluster's token.
    `user` is whom an insider or an admin speaks for; nobody else is believed about that. Of what
    a batch asks for them nobody waits for the answer.
    """

    key: ApiKey | None = None
    is_insider: bool = False
    address: str = ""  # of the client's connection, without a port
    user: str = ""
    is_batch: bool = False

    @classmethod
    def of(
        cls, scope: Scope, headers: Headers, key: ApiKey | None = None, *, is_insider: bool = False
    ) -> "Caller":
        """Return the caller of a request that shows `key` or the cluster's token."""
        client = scope.get("client")
        caller = cls(key=key, is_insider=is_insider, address=client[0] if client else "")
        user = headers.get(USER_HEADER, "")
        if not (caller.is_admin and _USER.fullmatch(user)):
            return caller
        return cls(key=key, is_insider=is_insider, address=caller.address, user=user)

    @property
    def is_admin(self) -> bool:
        return self.is_insider or (self.key is not None and self.key.role == "admin")

    def may_ask(self, model: str) -> bool:
        return self.key is None or self.key.may_ask(model)

    @property
    def owner(self) -> str:
        """Whose requests share a place in line: a key's, a user's of the page, an address's."""
        shown = self.key.id if self.key else "insider" if self.is_insider else self.address
        return f"{shown}/{self.user}" if self.user else shown


def caller_of(connection: HTTPConnection) -> Caller:
    """Return who sent a request that a guard let in."""
    caller: Caller = connection.state.caller
    return caller
