"""Route of shared conversations: what a link shows to everybody, and nothing beside it."""

import asyncio
import gzip

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.web.sharing.link_part import PATH
from llava_serve.web.sharing.shared_conversations import Sharing
from llava_serve.web.translations.language import current, translate

BELOW = f"/{PATH}"
_NOTHING = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ margin: 15vh 24px; text-align: center; }}
</style>
</head>
<body><main><h1>{title}</h1><p>{why}</p></main></body>
</html>
"""
# The page has neither scripts nor addresses of its own; no search engine keeps it, and no other
# page learns its address.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}

_GZIP = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}


def shared_router(links: Sharing) -> APIRouter:
    """Return the route; whoever has a token may use it, signed in or not."""
    router = APIRouter()

    @router.api_route(BELOW + "{token:path}", methods=["GET", "HEAD"], response_model=None)
    async def show(token: str, request: Request) -> Response:
        async def found() -> HTMLResponse:
            page = await links.page(token)
            if page is None:
                return HTMLResponse(_nothing(), 404, _HEADERS)
            if "gzip" in request.headers.get("accept-encoding", ""):
                return HTMLResponse(page, headers=_HEADERS | _GZIP)
            return HTMLResponse(await asyncio.to_thread(gzip.decompress, page), headers=_HEADERS)

        answer = await unless_client_leaves(found(), request.receive)
        return answer or Response(status_code=204)

    return router


def _nothing() -> str:
    return _NOTHING.format(
        language=current.get().tag,
        title=translate("share.nothing"),
        why=translate("share.nothing_why"),
    )
