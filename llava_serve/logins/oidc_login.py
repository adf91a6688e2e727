"""Logins by an OpenID provider: the code flow with PKCE, state and nonce, by Authlib."""

import hashlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from llava_serve.errors import CommandError, LoginRefused, ProviderFailed
from llava_serve.login_config import LoginConfig
from llava_serve.logins.session_key import SessionKey
from llava_serve.logins.user import User
from llava_serve.secret_file import read_secret

_NAME = "provider"
_WELL_KNOWN = "/.well-known/openid-configuration"
_TIMEOUT_S = 10.0
_LONGEST_OWNER = 255  # characters; a subject alone may have as many


class OidcLogins:
    """Users of a provider whom `allowed` names: by address, by domain, or all by `*`.

    Raises:
        CommandError: Authlib is not installed, or the secret cannot be read.
    """

    lasts_s = 12 * 3600

    def __init__(self, config: LoginConfig, key: SessionKey) -> None:
        try:
            from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped, unused-ignore]
        except ImportError as exc:
            raise CommandError(
                "--oidc-issuer needs Authlib, which is not installed",
                'Install it: python -m pip install -e ".[oidc]"',
            ) from exc
        self._issuer = str(config.oidc_issuer).rstrip("/")
        self._allowed = config.oidc_allowed
        self._key = key
        self._client_id = str(config.oidc_client_id)
        self.provider = urlsplit(self._issuer).netloc
        self._client = OAuth().register(
            _NAME,
            client_id=self._client_id,
            client_secret=read_secret(
                Path(str(config.oidc_client_secret_file)),
                "the secret of --oidc-client-secret-file",
                "Write the secret that the provider shows for this client into it.",
            ),
            server_metadata_url=self._issuer + _WELL_KNOWN,
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "timeout": _TIMEOUT_S,
            },
        )

    async def begin(self, request: Request, kept: dict[str, Any], back: str) -> Response:
        """Send the browser to the provider, which sends it to `back`; `kept` is filled.

        Raises:
            ProviderFailed: the provider does not answer as one does.
        """
        request.scope["session"] = kept
        try:
            answer: Response = await self._client.authorize_redirect(request, back)
        except _failures() as exc:
            raise ProviderFailed(self.provider, _said(exc)) from exc
        return answer

    async def finish(self, request: Request, kept: MutableMapping[str, Any]) -> User:
        """Return the user with whom the provider sent the browser back.

        Raises:
            ProviderFailed: the provider, or somebody in its place, does not answer as it should.
            LoginRefused: the user may not use this page.
        """
        request.scope["session"] = kept
        checked = {
            "iss": {"essential": True, "value": self._issuer_of(await self._metadata())},
            "aud": {"essential": True, "value": self._client_id},
        }
        try:
            token = await self._client.authorize_access_token(request, claims_options=checked)
        except _failures() as exc:
            raise ProviderFailed(self.provider, _said(exc)) from exc
        claims = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise ProviderFailed(self.provider, "it sent no ID token with a subject")
        email = str(claims.get("email") or "").lower()
        verified = email if claims.get("email_verified") is True else ""
        if not self._lets_in(verified):
            shown = email or "somebody without an e-mail address"
            raise LoginRefused(shown if verified else f"{shown} (not verified)")
        name = email or str(claims.get("name") or claims["sub"])
        return self._key.user(_owner(self._issuer, str(claims["sub"])), name[:100], verified)

    async def _metadata(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await self._client.load_server_metadata()
        except _failures() as exc:
            raise ProviderFailed(self.provider, _said(exc)) from exc
        return found

    def _issuer_of(self, metadata: dict[str, Any]) -> str:
        issuer = str(metadata.get("issuer"))
        if issuer.rstrip("/") != self._issuer:
            raise ProviderFailed(self.provider, f"it says that it is {issuer[:200]}")
        return issuer

    def admits(self, user: User) -> bool:
        """Tell whether a user who has signed in may still use the page."""
        return user.owner.startswith(f"{self._issuer}#") and self._lets_in(user.stamp)

    def _lets_in(self, email: str) -> bool:
        domain = email.rpartition("@")[2]
        return "*" in self._allowed or (
            bool(email) and not {email, domain}.isdisjoint(self._allowed)
        )


def _failures() -> tuple[type[Exception], ...]:
    """Return what Authlib raises, of itself and of the libraries that it uses."""
    import httpx2
    from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped, unused-ignore]
    from joserfc.errors import JoseError

    return (AuthlibBaseError, JoseError, httpx2.HTTPError, ValueError, KeyError, RuntimeError)


def _owner(issuer: str, subject: str) -> str:
    """Return who a user is in a column of the database, where no two are the same."""
    owner = f"{issuer}#{subject}"
    if len(owner) <= _LONGEST_OWNER:
        return owner
    return f"{issuer}#sha256:{hashlib.sha256(subject.encode()).hexdigest()}"


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]
