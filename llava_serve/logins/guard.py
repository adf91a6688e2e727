"""Guard of the page: who has not signed in is sent to do so."""

from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from llava_serve import logs
from llava_serve.errors import LoginRequired
from llava_serve.logins.login_sessions import LoginSessions
from llava_serve.logins.login_texts import LoginTexts

_OPEN = ("/health", "/login", "/logout")


class LoginGuard:
    """Middleware: lets users in, as `user` in the request's state, and nobody else.

    What lies below one of `open_below` is everybody's.
    """

    def __init__(
        self,
        app: ASGIApp,
        sessions: LoginSessions,
        texts: LoginTexts,
        open_below: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._texts = texts
        self._open_below = ("/login/", *open_below)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            user = self._sessions.user(scope)
            if user is None:
                await self._refusal(scope)(scope, receive, send)
                return
            scope.setdefault("state", {})["user"] = user
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in _OPEN or path.startswith(self._open_below)

    def _refusal(self, scope: Scope) -> Response:
        """Send who opens the page to sign in; the page's own calls learn that they have to."""
        is_navigation = "text/html" in Headers(scope=scope).get("accept", "")
        if scope["method"] == "GET" and is_navigation:
            query = scope["query_string"].decode("latin-1")
            back = quote(scope["path"] + (f"?{query}" if query else ""), safe="")
            return RedirectResponse(f"/login?next={back}", 303, {"Cache-Control": "no-store"})
        error, request_id = LoginRequired(), logs.request_id.get()
        body = error.as_body(request_id)
        told = self._texts.error(error)
        detail = f"{told.told} {told.remedy}"
        # Gradio's script shows what one of these fields holds.
        return JSONResponse({**body, "detail": detail}, error.status)
