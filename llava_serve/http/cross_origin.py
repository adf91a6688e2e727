"""Cross-origin requests: which pages of other origins may ask, and what their browsers are told."""

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What the clients of OpenAI and Anthropic send from a browser, and what serves to trace a request.
_REQUEST_HEADERS = frozenset(
    (
        *("authorization", "content-type", "x-api-key", "x-request-id", "traceparent"),
        *("openai-organization", "openai-project", "idempotency-key", "user-agent"),
        *("anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"),
    )
)
_REQUEST_PREFIXES = ("x-stainless-",)  # of both clients, whatever their next version adds
_ANSWER_HEADERS = (
    *("x-request-id", "request-id", "retry-after", "x-should-retry", "x-not-answered"),
    *(
        f"x-ratelimit-{of}-{what}"
        for what in ("requests", "tokens")
        for of in ("limit", "remaining", "reset")
    ),
)
_METHODS = "GET, HEAD, POST, DELETE"
_PREFLIGHT_S = 600  # that a browser keeps the answer for
_ANSWERED = "llava_serve.cross_origin"


@dataclass(frozen=True, slots=True)
class Origins:
    """Origins, as `https://chat.example.com`, whose pages may ask; `*` stands for every one."""

    allowed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, allowed: Iterable[str]) -> "Origins":
        return cls(frozenset(origin.lower() for origin in allowed))

    def __bool__(self) -> bool:
        return bool(self.allowed)

    def allow(self, origin: str) -> bool:
        """Tell whether pages of an origin may ask."""
        return "*" in self.allowed or origin.lower() in self.allowed

    def told_to(self, origin: str) -> dict[str, str]:
        """Return the headers that let a page of an origin that may ask read its answer."""
        shown = "*" if "*" in self.allowed else origin
        exposed = ", ".join(_ANSWER_HEADERS)
        return {"Access-Control-Allow-Origin": shown, "Access-Control-Expose-Headers": exposed}


class CrossOrigin:
    """Middleware: answers preflights of pages that may ask, and lets them read every answer.

    Errors are answers too: without the headers a page would only learn that its request failed. No
    cookies are allowed, there are none. Starlette's middleware knows no headers by how they begin,
    and does not reach the error of a bug. What comes from other pages is refused by `ApiGuard`.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None or not self._origins.allow(origin):
            await self._app(scope, receive, send)
            return
        told = self._origins.told_to(origin)
        if is_preflight(scope, headers):
            await _preflight_answer(headers, told)(scope, receive, send)
            return
        scope[_ANSWERED] = told

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                _tell(MutableHeaders(scope=message), told)
            await send(message)

        await self._app(scope, receive, send_readable)


def is_preflight(scope: Scope, headers: Headers) -> bool:
    """Tell whether a browser asks what a page may send, before it sends that."""
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def make_readable(scope: Scope, response: Response) -> Response:
    """Give an answer that does not pass the middleware what the middleware would."""
    _tell(response.headers, scope.get(_ANSWERED, {}))
    return response


def _tell(headers: MutableHeaders, told: dict[str, str]) -> None:
    if told:
        headers.update(told)
        headers.add_vary_header("Origin")


def _preflight_answer(headers: Headers, told: dict[str, str]) -> Response:
    """Allow those of the headers that are asked about that pages may send."""
    asked = [one.strip() for one in headers.get("access-control-request-headers", "").split(",")]
    allowed = [one for one in asked if _may_be_sent(one.lower())]
    answer = Response(status_code=204)
    _tell(answer.headers, told)
    answer.headers["Access-Control-Allow-Methods"] = _METHODS
    answer.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_S)
    if allowed:
        answer.headers["Access-Control-Allow-Headers"] = ", ".join(allowed)
    return answer


def _may_be_sent(header: str) -> bool:
    return header in _REQUEST_HEADERS or header.startswith(_REQUEST_PREFIXES)
