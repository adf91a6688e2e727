"""Browser headers: how long each file keeps, and what the page may reach."""

import re
from functools import lru_cache
from pathlib import Path

from gradio.route_utils import BUILD_PATH_LIB
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HASHED = re.compile(r"/assets/.*-[\w-]{8,}\.\w+")  # the name changes with the content
_UNHASHED = re.compile(r"/(?:static|assets)/")
# Half a megabyte that only a live stream of video needs; the box for questions asks for it.
_HLS = re.compile(r"/assets/(hls-[\w-]+\.js)")
_EXPORTS = re.compile(r"export\s*\{([^{}]*)\}\s*;?\s*$")
_FOREVER = "public, max-age=31536000, immutable"
_A_DAY = "public, max-age=86400"
_ASK_EACH_TIME = "no-cache"
# Gradio's own templates need inline scripts and `Function`; no other origin is ever reached.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)


class BrowserHeaders:
    """Middleware: adds how long an answer keeps, and the policy where it has none of its own.

    It also withholds a script that nothing uses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        keeps = _keeps(path, scope["query_string"])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", _POLICY)
                headers.setdefault("Referrer-Policy", "same-origin")
                if message["status"] in (200, 304):
                    headers.setdefault("Cache-Control", keeps)
            await send(message)

        reply = _without_hls(path)
        await (reply or self._app)(scope, receive, send_with_headers)


def _keeps(path: str, query: bytes) -> str:
    if _HASHED.fullmatch(path) or (path == "/theme.css" and query.startswith(b"v=")):
        return _FOREVER
    return _A_DAY if _UNHASHED.match(path) else _ASK_EACH_TIME


def _without_hls(path: str) -> Response | None:
    """Return a script with the names of the HLS script and nothing behind them."""
    found = _HLS.fullmatch(path)
    names = _exported(Path(BUILD_PATH_LIB) / found[1]) if found else ()
    if not names:
        return None
    listed = ", ".join(f"none as {name}" for name in names)
    script = f"const none = undefined;\nexport {{ {listed} }};\n"
    return Response(script, media_type="text/javascript")


@lru_cache(maxsize=8)
def _exported(script: Path) -> tuple[str, ...]:
    """Return the names that a bundled script exports; none where it is not there."""
    if not script.is_file():
        return ()
    found = _EXPORTS.search(script.read_text(encoding="utf-8"))
    parts = found[1].split(",") if found else []
    return tuple(part.split()[-1] for part in parts if part.strip())
