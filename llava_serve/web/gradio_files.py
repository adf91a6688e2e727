"""Gradio's scripts and styles, kept in memory as they are sent: compressed once, not each time."""

import asyncio
import gzip
import re
from functools import cache, lru_cache
from pathlib import Path

import brotli
from gradio.route_utils import BUILD_PATH_LIB
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

# The name changes with the content, so that what is kept of a file stays true.
_HASHED = re.compile(r"/assets/([\w.-]{1,100}-[\w-]{8,40}\.(?:js|css))", re.ASCII)
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_MOST_BYTES = 300_000  # what is larger belongs to components that this page has not
_FILES = 2000  # Gradio has half as many, each kept for two kinds of browsers


class GradioFiles:
    """Middleware: answers for Gradio's hashed files; the rest is for the app.

    A page loads eighty of them, and Gradio reads and compresses each for every browser.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp | None = None
        if scope["type"] == "http" and scope["method"] == "GET":
            answer = await _answer(scope)
        await (answer or self._app)(scope, receive, send)


async def _answer(scope: Scope) -> Response | None:
    found = _HASHED.fullmatch(scope["path"])
    headers = Headers(scope=scope)
    accepted = headers.get("accept-encoding", "")
    encoding = next((one for one in ("br", "gzip") if one in accepted), None)
    if found is None or encoding is None or "range" in headers or found[1] not in _names():
        return None
    body = await asyncio.to_thread(_compressed, found[1], encoding)
    if body is None:
        return None
    told = {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
    return Response(body, headers=told, media_type=_TYPES[Path(found[1]).suffix])


@cache
def _names() -> frozenset[str]:
    return frozenset(file.name for file in Path(BUILD_PATH_LIB).iterdir() if file.is_file())


@lru_cache(_FILES)
def _compressed(name: str, encoding: str) -> bytes | None:
    """Return what to send for a file; None where it is too large to keep."""
    file = Path(BUILD_PATH_LIB) / name
    if file.stat().st_size > _MOST_BYTES:
        return None
    content = file.read_bytes()
    if encoding == "gzip":
        return gzip.compress(content, compresslevel=6, mtime=0)
    return bytes(brotli.compress(content, mode=brotli.MODE_TEXT, quality=6))
