"""Rights of operators at the page: who of those who use it may see and change the cluster."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from llava_serve.errors import OperatorsOnly
from llava_serve.http.access import is_on_this_machine
from llava_serve.http.hosts import is_loopback
from llava_serve.login_config import LoginConfig
from llava_serve.logins.user import user_of


@dataclass(frozen=True, slots=True)
class Operators:
    """Users by their names where users sign in; else, if `are_local`, browsers of this machine.

    The name of a provider's user is the e-mail address that the provider has verified: whatever
    else it says, its users may be free to choose.
    """

    names: frozenset[str] = frozenset()
    are_of_provider: bool = False
    are_local: bool = False

    @classmethod
    def of(cls, config: LoginConfig) -> "Operators":
        """Return those that the flags name."""
        are_of_provider = config.oidc_issuer is not None
        names = config.admin_names
        if are_of_provider:
            names = frozenset(name.lower() for name in names)
        return cls(names, are_of_provider, config.local_admin)

    @property
    def exist(self) -> bool:
        """Whether anybody can be one at all."""
        return bool(self.names) or self.are_local

    def include(self, scope: Scope) -> bool:
        """Tell whether a request comes from an operator."""
        user = user_of(scope)
        if user is not None:
            # The stamp of a provider's user is the verified address; it may be empty.
            return (user.stamp if self.are_of_provider else user.owner) in self.names
        return self.are_local and _is_local(scope)

    def check(self, scope: Scope) -> None:
        """Raises: OperatorsOnly, when a request comes from nobody who is one."""
        if not self.include(scope):
            raise OperatorsOnly


NOBODY_OPERATES = Operators()


def _is_local(scope: Scope) -> bool:
    """Tell whether a browser of this machine asks, by an address of this machine alone.

    A proxy that says nothing of itself still passes on the page's name, or the browser's origin.
    """
    headers = Headers(scope=scope)
    named = [f"//{host}" for host in headers.getlist("host")] + headers.getlist("origin")
    return is_on_this_machine(scope, headers) and all(map(_is_of_loopback, named))


def _is_of_loopback(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
