"""News for an open page: a short text that changes when the page is to be brought up to date."""

import hashlib
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse

from llava_serve.errors import ServeError
from llava_serve.logins.user import User, user_of
from llava_serve.protocol.model_card import ModelCard
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.sessions import Sessions

_MOST = 3  # conversations that a page shows, one of a kind


def news_router(sessions: Sessions, link: ControllerLink) -> APIRouter:
    """Return the route by which a page asks; it names the conversations that it shows."""
    router = APIRouter()

    @router.get("/news")
    async def news(
        request: Request, shown: Annotated[Sequence[str], Query(max_length=_MOST)] = ()
    ) -> PlainTextResponse:
        user = user_of(request.scope)
        versions = [_version(sessions, one, user) for one in shown]
        text = " ".join([_mark(link.cards, link.error), *versions])
        return PlainTextResponse(text, headers={"Cache-Control": "no-store"})

    return router


def _version(sessions: Sessions, conversation_id: str, user: User | None) -> str:
    """Return the version of a conversation that somebody shows; `-` where this user knows none."""
    found, owner = sessions.open_one(conversation_id), None if user is None else user.owner
    return "-" if found is None or found.owner != owner else str(found.version)


def _mark(cards: Sequence[ModelCard], error: ServeError | None) -> str:
    """Return a short name of what is served, or of why nothing is."""
    told = [card.model_dump_json(exclude={"created"}) for card in cards]
    told.append("" if error is None else error.for_user)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]
