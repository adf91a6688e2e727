"""Routes of the logins: the form or the way over the provider, and the way out."""

from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader

from llava_serve.errors import ServeError
from llava_serve.http import serving
from llava_serve.logins.login_sessions import OIDC_PATH, LoginSessions
from llava_serve.logins.oidc_login import OidcLogins
from llava_serve.logins.password_login import PasswordLogins

_PAGE = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template(
    "login.html"
)
# A form's `Origin`, which is checked, would be null without a referrer.
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}


def login_router(sessions: LoginSessions) -> APIRouter:
    """Return the routes by which users come and go."""
    router = APIRouter()
    method = sessions.method

    @router.get("/login")
    async def login(request: Request) -> Response:
        back = path_within(request.query_params.get("next", ""))
        if sessions.user(request.scope) is not None:
            return RedirectResponse(back, 303, _HEADERS)
        return _page(sessions, back)

    @router.post("/logout")
    async def logout() -> Response:
        answer = RedirectResponse("/login", 303, _HEADERS)
        sessions.forget(answer)
        return answer

    if isinstance(method, PasswordLogins):
        _add_form(router, sessions, method)
    else:
        _add_flow(router, sessions, method)
    return router


def _add_form(router: APIRouter, sessions: LoginSessions, passwords: PasswordLogins) -> None:
    @router.post("/login")
    async def sign_in(request: Request) -> Response:
        async with request.form() as form:
            name, password, back = (str(form.get(one, "")) for one in ("name", "password", "next"))
        back = path_within(back)
        try:
            address = request.client.host if request.client else ""
            user = await passwords.sign_in(name.strip(), password, address)
        except ServeError as exc:
            serving.log_error(exc)
            return _page(sessions, back, exc, name[:64])
        answer = RedirectResponse(back, 303, _HEADERS)
        sessions.keep(answer, user, request.scope)
        return answer


def _add_flow(router: APIRouter, sessions: LoginSessions, provider: OidcLogins) -> None:
    @router.get(OIDC_PATH)
    async def begin(request: Request) -> Response:
        kept = {"next": path_within(request.query_params.get("next", ""))}
        back = f"{sessions.address(request.scope)}{OIDC_PATH}/back"
        try:
            answer = await provider.begin(request, kept, back)
        except ServeError as exc:
            serving.log_error(exc)
            return _page(sessions, kept["next"], exc)
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
            answer = _page(sessions, back, exc)
        else:
            answer = RedirectResponse(back, 303, _HEADERS)
            sessions.keep(answer, user, request.scope)
        sessions.end_flow(answer)
        return answer


def path_within(path: str) -> str:
    """Return a path of this page to go to: no other server's address, whatever is asked for."""
    is_local = path.startswith("/") and not path.startswith("//") and path.isprintable()
    return path if is_local and "\\" not in path else "/"


def _page(
    sessions: LoginSessions, back: str, error: ServeError | None = None, name: str = ""
) -> HTMLResponse:
    text = _PAGE.render(
        provider=sessions.method.provider,
        flow=f"{OIDC_PATH}?next={quote(back, safe='')}",
        back=back,
        error=error,
        name=name,
    )
    headers = {**_HEADERS, **(error.headers if error else {})}
    return HTMLResponse(text, error.status if error else 200, headers)
