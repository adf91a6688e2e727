"""Login sessions of the page: the cookie that says who has signed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from llava_serve.login_config import LoginConfig
from llava_serve.logins.oidc_login import OidcLogins
from llava_serve.logins.password_login import PasswordLogins
from llava_serve.logins.session_key import SessionKey
from llava_serve.logins.user import User

_COOKIE = "llava_session"
_OIDC_COOKIE = "llava_oidc"
OIDC_PATH = "/login/oidc"
_OIDC_S = 600  # for a user to sign in at the provider


@dataclass(frozen=True)
class LoginSessions:
    """How users sign in, and their cookies; `public_address` is where browsers reach the page."""

    method: PasswordLogins | OidcLogins
    key: SessionKey
    public_address: str | None = None

    @classmethod
    def of(cls, config: LoginConfig, state_dir: Path) -> "LoginSessions | None":
        """Return the logins of the settings; None where nobody has to sign in.

        Raises:
            CommandError: a file cannot be used, or Authlib is missing.
        """
        if config.auth_file is None and config.oidc_issuer is None:
            return None
        key = SessionKey.in_folder(state_dir)
        method: PasswordLogins | OidcLogins
        if config.auth_file is not None:
            method = PasswordLogins(config.auth_file, key)
        else:
            method = OidcLogins(config, key)
        return cls(method, key, config.public_address)

    def user(self, scope: Scope) -> User | None:
        """Return who sends a request; None where its cookie is no proof of that any longer."""
        content = self._content(scope, _COOKIE, self.method.lasts_s)
        if content is None:
            return None
        user = self.key.user(content["owner"], content["name"], content["stamp"])
        return user if self.method.admits(user) else None

    def keep(self, response: Response, user: User, scope: Scope) -> None:
        """Let the browser be known as a user's from here on."""
        content = {"owner": user.owner, "name": user.name, "stamp": user.stamp}
        self._set(response, _COOKIE, content, self.method.lasts_s, "/", scope)

    def forget(self, response: Response) -> None:
        """Let the browser forget its user, and what it keeps of the page."""
        response.delete_cookie(_COOKIE, httponly=True, samesite="lax")
        response.headers["Clear-Site-Data"] = '"cache", "storage"'

    def keep_flow(self, response: Response, kept: Mapping[str, Any], scope: Scope) -> None:
        """Let the browser bring along what belongs to its way over the provider."""
        self._set(response, _OIDC_COOKIE, kept, _OIDC_S, OIDC_PATH, scope)

    def flow(self, scope: Scope) -> dict[str, Any]:
        """Return what belongs to a browser's way over the provider; nothing where it began none."""
        return self._content(scope, _OIDC_COOKIE, _OIDC_S) or {}

    def end_flow(self, response: Response) -> None:
        """Let the browser forget its way over the provider."""
        response.delete_cookie(_OIDC_COOKIE, path=OIDC_PATH, httponly=True, samesite="lax")

    def address(self, scope: Scope) -> str:
        """Return the address of the page, as browsers know it."""
        if self.public_address is not None:
            return self.public_address.rstrip("/")
        return f"{scope['scheme']}://{Headers(scope=scope).get('host', '')}"

    def _set(  # noqa: PLR0913 - what a cookie is made of
        self, response: Response, name: str, content: Any, lasts_s: int, path: str, scope: Scope
    ) -> None:
        response.set_cookie(
            name,
            self.key.seal({"of": name, "content": content}),
            max_age=lasts_s,
            path=path,
            secure=self.address(scope).startswith("https://"),
            httponly=True,
            samesite="lax",
        )

    def _content(self, scope: Scope, name: str, lasts_s: int) -> dict[str, Any] | None:
        """Return what a cookie holds; None where it is none, too old, or another one's."""
        sealed = self.key.open(_cookies(scope).get(name), lasts_s)
        if not isinstance(sealed, dict) or sealed.get("of") != name:
            return None
        content: dict[str, Any] = sealed["content"]
        return content


def _cookies(scope: Scope) -> dict[str, str]:
    return cookie_parser(Headers(scope=scope).get("cookie", ""))
