"""Routes of the logins: the form or the way over the provider, and the way out."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader

from llava_serve.errors import ServeError
from llava_serve.http import serving
from llava_serve.logins.login_sessions import OIDC_PATH, LoginSessions
from llava_serve.logins.login_texts import LoginTexts
from llava_serve.logins.oidc_login import OidcLogins
from llava_serve.logins.password_login import PasswordLogins

_PAGE = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template(
    "login.html"
)
# A form's `Origin`, which is checked, would be null without a referrer.
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}


@dataclass(frozen=True)
class _LoginPage:
    """The page with the form, or the way to the provider."""

    sessions: LoginSessions
    texts: LoginTexts

    def shown(self, back: str, error: ServeError | None = None, name: str = "") -> HTMLResponse:
        """Return the page with why it did not succeed; it leads `back`."""
        text = _PAGE.render(
            language=self.texts.language(),
            translate=self.texts.translate,
            provider=self.sessions.method.provider,
            flow=f"{OIDC_PATH}?next={quote(back, safe='')}",
            back=back,
            error=self.texts.error(error) if error else None,
            name=name,
        )
        headers = {**_HEADERS, **(error.headers if error else {})}
        return HTMLResponse(text, error.status if error else 200, headers)


def login_router(sessions: LoginSessions, texts: LoginTexts) -> APIRouter:
    """Return the routes by which users come and go."""
    router = APIRouter()
    page = _LoginPage(sessions, texts)
    method = sessions.method

    @router.get("/login")
    async def login(request: Request) -> Response:
        back = path_within(request.query_params.get("next", ""))
        if sessions.user(request.scope) is not None:
            return RedirectResponse(back, 303, _HEADERS)
        return page.shown(back)

    @router.post("/logout")
    async def logout() -> Response:
        answer = RedirectResponse("/login", 303, _HEADERS)
        sessions.forget(answer)
        return answer

    if isinstance(method, PasswordLogins):
        _add_form(router, page, method)
    else:
        _add_flow(router, page, method)
    return router


def _add_form(router: APIRouter, page: _LoginPage, passwords: PasswordLogins) -> None:
    sessions = page.sessions

    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        async with request.form() as form:
            name, password, back = (str(form.get(one, "")) for one in ("name", "password", "next"))
            is_program = "username" in form  # as `gradio_client` calls a name
            name = str(form.get("username", name))
        back = path_within(back)
        try:
            address = request.client.host if request.client else ""
            user = await passwords.sign_in(name.strip(), password, address)
        except ServeError as exc:
            serving.log_error(exc)
            return page.shown(back, exc, name[:64])
        answer: Response = RedirectResponse(back, 303, _HEADERS)
        if is_program:  # which takes a redirect for a failure
            answer = JSONResponse({"success": True}, headers=_HEADERS)
        sessions.keep(answer, user, request.scope)
        return answer


def _add_flow(router: APIRouter, page: _LoginPage, provider: OidcLogins) -> None:
    sessions = page.sessions

    @router.get(OIDC_PATH)
    async def begin(request: Request) -> Response:
        kept = {"next": path_within(request.query_params.get("next", ""))}
        back = f"{sessions.address(request.scope)}{OIDC_PATH}/back"
        try:
            answer = await provider.begin(request, kept, back)
        except ServeError as exc:
            serving.log_error(exc)
            return page.shown(kept["next"], exc)
        sessions.keep_flow(answer, kept, request.scope)
        return answer

    @router.get(f"{OIDC_PATH}/back")
    async def finish(request: Request) -> Response:
        kept = sessions.flow(request.scope)
        back = path_within(kept.pop("next", ""))
        answer: Response
        try:
            user = await provider.finish(request, kept)
        except ServeError as exc:
            serving.log_error(exc)
            answer = page.shown(back, exc)
        else:
            answer = RedirectResponse(back, 303, _HEADERS)
            sessions.keep(answer, user, request.scope)
        sessions.end_flow(answer)
        return answer


def path_within(path: str) -> str:
    """Return a path of this page to go to: no other server's address, whatever is asked for."""
    is_local = path.startswith("/") and not path.startswith("//") and path.isprintable()
    return path if is_local and "\\" not in path else "/"
