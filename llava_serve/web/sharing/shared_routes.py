"""Route of shared conversations: what a link shows to everybody, and nothing beside it."""

import asyncio
import gzip
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from llava_serve.errors import PageBusy
from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.quota import Quota
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

# What clients have still to read of pages lies in memory, of each client by itself.
_SENT_BYTES = 256_000_000
_GZIP = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}


def shared_router(links: Sharing) -> APIRouter:
    """Return the route; whoever has a token may use it, signed in or not."""
    router, sent = APIRouter(), Quota(_SENT_BYTES)

    @router.get(BELOW + "{token:path}", response_model=None)
    async def show(token: str, request: Request) -> Response:
        async def found() -> HTMLResponse:
            page = await links.page(token)
            if page is None:
                return HTMLResponse(_nothing(), 404, _HEADERS)
            if "gzip" in request.headers.get("accept-encoding", ""):
                return CountedPage(sent, page, _HEADERS | _GZIP)
            return CountedPage(sent, page, _HEADERS, unpacks=True)

        answer = await unless_client_leaves(found(), request.receive)
        return answer or Response(status_code=204)

    return router


class CountedPage(HTMLResponse):
    """A page whose bytes count as long as its client reads them.

    With `unpacks` it is gzip, and is unpacked once there is room for what it holds.
    """

    def __init__(
        self,
        sent: Quota,
        page: bytes,
        headers: Mapping[str, str],
        wait_s: float = 10.0,
        *,
        unpacks: bool = False,
    ) -> None:
        super().__init__(page, headers=headers)
        self._sent, self._wait_s, self._unpacks = sent, wait_s, unpacks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it once there is room. Raises: PageBusy, where there is none for a while."""
        # The last four bytes of gzip are the length of what it holds. Source: RFC 1952, 2.3.1.
        size = int.from_bytes(self.body[-4:], "little") if self._unpacks else len(self.body)
        try:
            async with asyncio.timeout(self._wait_s):
                await self._sent.acquire(size)
        except TimeoutError as exc:
            raise PageBusy(self._sent.held // 1_000_000, "megabytes of shared pages") from exc
        try:
            if self._unpacks:
                self.body = await asyncio.to_thread(gzip.decompress, self.body)
                self.headers["Content-Length"] = str(len(self.body))
            await super().__call__(scope, receive, send)
        finally:
            self._sent.release(size)


def _nothing() -> str:
    return _NOTHING.format(
        language=current.get().tag,
        title=translate("share.nothing"),
        why=translate("share.nothing_why"),
    )
