"""Routes of inspections: of an answer, for who may see its conversation."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from llava_serve.errors import BattleOpen, ConversationUnknown
from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.logins.user import user_of
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.conversation_routes import ForUsers
from llava_serve.web.inspection import panel
from llava_serve.web.inspection.answer import as_asked, files_of, inspect, reply_at
from llava_serve.web.sessions import Sessions

_AT_ONCE = 2  # each holds all the files of a conversation in memory
_UNKEPT = {"Cache-Control": "no-store"}


class AnswerPlace(BaseModel):
    """An answer, by its conversation, the number of its question, and its place among several."""

    id: str = Field(max_length=64)
    exchange: int = Field(ge=0, lt=2**31)
    slot: int = Field(ge=0, lt=100)


def inspection_router(services: Services, sessions: Sessions) -> APIRouter:
    """Return the routes; each knows by its request who asks."""
    router = APIRouter(prefix="/inspection", route_class=ForUsers)
    heavy = asyncio.Semaphore(_AT_ONCE)

    async def found(conversation_id: str, request: Request) -> ChatState:
        conversation = await sessions.find(conversation_id, user_of(request.scope))
        if conversation is None:
            raise ConversationUnknown
        return conversation

    @router.post("/answer")
    async def saw(asked: AnswerPlace, request: Request) -> Response:
        conversation = await found(asked.id, request)
        reply = reply_at(conversation, asked.exchange, asked.slot)
        if reply is None or reply.is_open:
            raise ConversationUnknown
        if conversation.is_blind:
            raise BattleOpen
        exchanges = as_asked(conversation.exchanges, asked.exchange, asked.slot)
        reused = reply.cached_tokens

        async def drawn() -> str:
            async with heavy:
                told = await inspect(
                    services, conversation, exchanges, asked.slot, with_pixels=True
                )
            if told is None:
                return panel.refusal()
            files = files_of(exchanges, asked.slot)
            return await asyncio.to_thread(panel.panel, told, files, asked.exchange, reused)

        html = await unless_client_leaves(drawn(), request.receive)
        return HTMLResponse(html or "", headers=_UNKEPT)

    return router
