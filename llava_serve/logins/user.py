"""User of the page: who has signed in, and what stands for them in the database and on the wire."""

from dataclasses import dataclass

from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has signed in.

    `owner` is whom conversations belong to, `name` what the page shows. `stamp` changes with the
    password. `opaque` tells users apart without telling who they are.
    """

    owner: str
    name: str
    stamp: str = ""
    opaque: str = ""


def user_of(scope: Scope) -> User | None:
    """Return who sent a request that a guard let in; None where nobody signs in."""
    user: User | None = scope.get("state", {}).get("user")
    return user
