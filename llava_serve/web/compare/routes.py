"""Routes of a comparison: the difference of two of its answers."""

import asyncio

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from llava_serve.errors import ConversationUnknown, InvalidField
from llava_serve.logins.user import user_of
from llava_serve.web.compare.difference import difference
from llava_serve.web.conversation_routes import ForUsers
from llava_serve.web.render import LETTERS
from llava_serve.web.sessions import Sessions

_AT_ONCE = 1  # comparing holds the interpreter
_LAST_SLOT = len(LETTERS) - 1


def comparison_router(sessions: Sessions) -> APIRouter:
    """Return the routes; a conversation is found by whoever its transcript is shown to."""
    router = APIRouter(prefix="/comparisons", route_class=ForUsers)
    comparing = asyncio.Semaphore(_AT_ONCE)

    @router.get("/{conversation_id}/difference")
    async def compare(
        conversation_id: str,
        request: Request,
        exchange: int = Query(ge=0),
        one: int = Query(ge=0, le=_LAST_SLOT),
        other: int = Query(ge=0, le=_LAST_SLOT),
    ) -> HTMLResponse:
        conversation = await sessions.find(conversation_id, user_of(request.scope))
        if conversation is None:
            raise ConversationUnknown
        if exchange >= len(conversation.exchanges):
            raise InvalidField("exchange", "is none of this conversation")
        replies = conversation.exchanges[exchange].replies
        if max(one, other) >= len(replies):
            raise InvalidField("other", "is none of the answers")
        texts = replies[one].text, replies[other].text
        names = LETTERS[one], LETTERS[other]
        async with comparing:
            html = await asyncio.to_thread(difference, *texts, names)
        return HTMLResponse(html, headers={"Cache-Control": "no-store"})

    return router
