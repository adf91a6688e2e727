"""Routes of inspections: of an answer or a draft, for who may see its conversation."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import Annotated
from weakref import WeakValueDictionary

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from llava_serve.errors import BattleOpen, ConversationUnknown
from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.logins.user import user_of
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.conversation_routes import ForUsers
from llava_serve.web.inspection import panel
from llava_serve.web.inspection.answer import as_asked, files_of, inspect, reply_at, sent_body
from llava_serve.web.inspection.context_budget import cost_of, smallest
from llava_serve.web.inspection.token_view import token_view
from llava_serve.web.messages import data_uri
from llava_serve.web.reply import StreamedReply
from llava_serve.web.sessions import Sessions
from llava_serve.web.uploads import path_of, uploader

_AT_ONCE = 2  # of one model: each holds all the files of a conversation in memory
DRAFT_S = 8.0  # a count that takes longer helps nobody: the draft has changed or was sent
_UNKEPT = {"Cache-Control": "no-store"}


class AnswerPlace(BaseModel):
    """An answer, by its conversation, the number of its question, and its place among several."""

    id: str = Field(max_length=64)
    exchange: int = Field(ge=0, lt=2**31)
    slot: int = Field(ge=0, lt=100)


class DraftFiles(BaseModel):
    """The files of a draft, by the names of their uploads, and the conversation that it is for."""

    id: str = Field(max_length=64)
    files: list[Annotated[str, Field(max_length=1000)]] = Field(max_length=MOST_FILES)


def inspection_router(services: Services, sessions: Sessions) -> APIRouter:
    """Return the routes; each knows by its request who asks."""
    router = APIRouter(prefix="/inspection", route_class=ForUsers)
    _add_tokens(router, sessions)
    _add_answer(router, services, sessions)
    _add_draft(router, services, sessions)
    return router


class _Turns:
    """Bounds the inspections of each model apart, so that a stuck worker holds up its own only."""

    def __init__(self) -> None:
        self._semaphores = WeakValueDictionary[str, asyncio.Semaphore]()

    @asynccontextmanager
    async def of(self, model: str) -> AsyncIterator[None]:
        async with self._semaphores.setdefault(model, asyncio.Semaphore(_AT_ONCE)):
            yield


async def _found(sessions: Sessions, conversation_id: str, request: Request) -> ChatState:
    """Return a conversation of whoever asks; tokens and contexts would tell a battle's models."""
    conversation = await sessions.find(conversation_id, user_of(request.scope))
    if conversation is None:
        raise ConversationUnknown
    if conversation.is_blind:
        raise BattleOpen
    return conversation


def _ended(conversation: ChatState, asked: AnswerPlace) -> StreamedReply:
    reply = reply_at(conversation, asked.exchange, asked.slot)
    if reply is None or reply.is_open:
        raise ConversationUnknown
    return reply


def _add_tokens(router: APIRouter, sessions: Sessions) -> None:
    @router.post("/tokens")
    async def tokens(asked: AnswerPlace, request: Request) -> HTMLResponse:
        reply = _ended(await _found(sessions, asked.id, request), asked)
        html = await asyncio.to_thread(token_view, reply.text[: reply.given], reply.tokens)
        return HTMLResponse(html, headers=_UNKEPT)


def _add_answer(router: APIRouter, services: Services, sessions: Sessions) -> None:
    uri_of, turns = partial(data_uri, services.media), _Turns()

    @router.post("/answer")
    async def answer(asked: AnswerPlace, request: Request) -> Response:
        conversation = await _found(sessions, asked.id, request)
        reply = _ended(conversation, asked)
        exchanges = as_asked(conversation.exchanges, asked.exchange, asked.slot)

        async def drawn() -> str:
            # A conversation that was imported may name any number of models that nobody serves.
            is_served = services.link.card(reply.model) is not None
            async with turns.of(reply.model if is_served else ""):
                body = await asyncio.to_thread(sent_body, exchanges, uri_of, asked.slot)
                told = await inspect(services, conversation, body, with_pixels=True)
            if told is None:
                return panel.refusal()
            files = files_of(exchanges, asked.slot)
            about = (told, files, asked.exchange, reply.cached_tokens)
            return await asyncio.to_thread(panel.panel, *about)

        html = await unless_client_leaves(drawn(), request.receive)
        return HTMLResponse(html or "", headers=_UNKEPT)


def _add_draft(router: APIRouter, services: Services, sessions: Sessions) -> None:
    turns = _Turns()

    @router.post("/draft")
    async def draft(asked: DraftFiles, request: Request) -> Response:
        conversation = await _found(sessions, asked.id, request)
        uploader.set(user.opaque if (user := user_of(request.scope)) else "")
        paths = [path_of(name) for name in asked.files]

        found = smallest(conversation, services.link)

        async def told() -> str:
            if found is None:
                return ""
            slot, card = found
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAFT_S), turns.of(card.id):
                    cost = await cost_of(services, conversation, paths, slot, card)
                return "" if cost is None else json.dumps(asdict(cost))
            return ""

        body = await unless_client_leaves(told(), request.receive)
        if not body:
            return Response(status_code=204, headers=_UNKEPT)
        return Response(body, media_type="application/json", headers=_UNKEPT)
