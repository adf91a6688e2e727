"""Routes of past conversations: the list as HTML, and what can be done to one of them."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from llava_serve.errors import ServeError
from llava_serve.http import serving
from llava_serve.http.json_body import JsonRoute
from llava_serve.storage.identity import NOBODY
from llava_serve.storage.listing import LONGEST_TITLE, MOST_LISTED
from llava_serve.web import conversation_export, entries
from llava_serve.web.browser_identity import identity_of
from llava_serve.web.calls import refusal
from llava_serve.web.past_conversations import PastConversations, Write
from llava_serve.web.sharing.shared_conversations import Sharing

# A page of its own must not be able to do what this page can.
_ALONE = {
    "Cache-Control": "no-store",
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
_WRITERS: dict[str, tuple[Write, str]] = {
    "json": (conversation_export.as_json, "application/json"),
    "html": (conversation_export.as_page, "text/html"),
}


class Renaming(BaseModel):
    """A title from the user; an empty one stands for the first question."""

    title: str = Field(max_length=LONGEST_TITLE)


class Imported(BaseModel):
    """What an import has become: its address is `?KIND=ID`."""

    kind: str
    id: str


class ForUsers(JsonRoute):
    """A route whose errors are told in the words for who uses the page."""

    told = staticmethod(refusal)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_tell(request: Request) -> Response:
            try:
                return await handle(request)
            except ServeError as exc:
                serving.log_error(exc)
                return self.told(exc)

        return handle_or_tell


def conversation_router(past: PastConversations, links: Sharing | None = None) -> APIRouter:
    """Return the routes; each knows by its request whose conversations are meant.

    Without `links` nothing can be shared.
    """
    router = APIRouter(prefix="/conversations", route_class=ForUsers)

    @router.get("")
    async def listed(
        request: Request,
        search: str = Query("", max_length=200),
        count: int = Query(50, ge=1, le=MOST_LISTED),
        zone: str = Query("UTC", max_length=64),
    ) -> HTMLResponse:
        whose = identity_of(request.scope)
        if whose == NOBODY:
            shown = entries.no_cookies()
        else:
            found, more = await past.entries(whose, search, count)
            now = datetime.now(_zone(zone))
            more = more and count < MOST_LISTED
            parts = {} if links is None else await links.parts(whose, [one.id for one in found])
            is_search = bool(search.strip())
            shown = entries.listing(found, now, is_search=is_search, has_more=more, parts=parts)
        return HTMLResponse(shown, headers={"Cache-Control": "no-store"})

    @router.patch("/{conversation_id}", status_code=204)
    async def rename(conversation_id: str, body: Renaming, request: Request) -> None:
        await past.rename(identity_of(request.scope), conversation_id, body.title)

    @router.delete("/{conversation_id}", status_code=204)
    async def delete(conversation_id: str, request: Request) -> None:
        await past.delete(identity_of(request.scope), conversation_id)

    @router.get("/{conversation_id}.{kind}")
    async def export(
        conversation_id: str, kind: Literal["json", "html"], request: Request
    ) -> Response:
        write, mime = _WRITERS[kind]
        text = await past.export(identity_of(request.scope), conversation_id, write)
        return Response(text, media_type=mime, headers=_ALONE)

    @router.post("/import", status_code=201)
    async def add(request: Request) -> Imported:
        kind, conversation_id = await past.add(identity_of(request.scope), await request.body())
        return Imported(kind=kind, id=conversation_id)

    if links is not None:
        _add_sharing(router, links)
    return router


def _add_sharing(router: APIRouter, links: Sharing) -> None:
    """Add what makes and withdraws a link; both answer with the part of the entry that says so."""

    @router.post("/{conversation_id}/link", status_code=201)
    async def make(conversation_id: str, request: Request) -> HTMLResponse:
        return HTMLResponse(await links.make(identity_of(request.scope), conversation_id), 201)

    @router.delete("/{conversation_id}/link")
    async def withdraw(conversation_id: str, request: Request) -> HTMLResponse:
        return HTMLResponse(await links.withdraw(identity_of(request.scope), conversation_id))


def _zone(name: str) -> tzinfo:
    """Return a time zone by its name; that of a name which is unknown here is UTC."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC
