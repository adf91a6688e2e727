"""Browser identity: a cookie by which a browser finds its conversations, where nobody signs in."""

import hashlib
import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve.logins.user import user_of
from llava_serve.storage.identity import Identity

_COOKIE = "llava_browser"
_VALUE = re.compile(r"[\w-]{43}", re.ASCII)
_LASTS_S = 400 * 24 * 3600  # browsers keep none longer


class BrowserIdentity:
    """Middleware: lets a browser be known again, as `browser` in the request's state.

    The database has a hash of the cookie: who reads it cannot become the browser.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        value = cookie_parser(Headers(scope=scope).get("cookie", "")).get(_COOKIE, "")
        is_known = _VALUE.fullmatch(value) is not None
        if is_known:
            hashed = hashlib.sha256(value.encode()).hexdigest()
            scope.setdefault("state", {})["browser"] = hashed

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = _cookie(value if is_known else secrets.token_urlsafe(32), scope)
                MutableHeaders(scope=message).append("Set-Cookie", kept)
            await send(message)

        is_page = scope["method"] == "GET" and scope["path"] == "/"
        await self._app(scope, receive, send_with_cookie if is_page else send)


def _cookie(value: str, scope: Scope) -> str:
    response = Response()
    response.set_cookie(
        _COOKIE,
        value,
        max_age=_LASTS_S,
        secure=scope["scheme"] == "https",
        httponly=True,
        samesite="lax",
    )
    return response.headers["set-cookie"]


def identity_of(scope: Scope) -> Identity:
    """Return whose conversations a request is about."""
    user = user_of(scope)
    if user is not None:
        return Identity(owner=user.owner)
    return Identity(browser=scope.get("state", {}).get("browser"))
