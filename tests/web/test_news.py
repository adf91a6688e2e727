"""A page that asks for news learns by a short text whether anything has changed."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from llava_serve.errors import StillAnswering
from llava_serve.logins.user import User
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.news import news_router
from llava_serve.web.sessions import Address, Sessions


@pytest.fixture
def sessions(services: Services) -> Sessions:
    return Sessions(services.store, services.media)


@pytest.fixture
async def conversation(sessions: Sessions) -> ChatState:
    return (await sessions.of("tab", Address())).chat.conversation


@pytest.fixture
async def http(services: Services, sessions: Sessions) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(news_router(sessions, services.link))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        yield client


async def news(http: httpx.AsyncClient, *shown: str) -> str:
    answer = await http.get("/news", params={"shown": shown})
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return answer.text


async def test_where_nothing_changes_the_news_stay(
    http: httpx.AsyncClient, conversation: ChatState, services: Services
) -> None:
    before = await news(http, conversation.id, "")
    await services.link.poll()
    assert await news(http, conversation.id, "") == before


async def test_a_change_of_a_conversation_is_news_to_who_shows_it(
    http: httpx.AsyncClient, conversation: ChatState
) -> None:
    before, others = await news(http, conversation.id), await news(http, "another")
    conversation.refuse(StillAnswering())
    assert await news(http, conversation.id) != before
    assert await news(http, "another") == others


async def test_models_that_come_and_an_error_are_news(
    http: httpx.AsyncClient, services: Services
) -> None:
    before = await news(http)
    (card,) = services.link.cards
    services.link.cards = (card, card.model_copy(update={"id": "another"}))
    more = await news(http)
    services.link.error = StillAnswering()
    assert len({before, more, await news(http)}) == 3


async def test_another_user_s_conversation_is_as_one_that_is_not_there(
    http: httpx.AsyncClient, sessions: Sessions
) -> None:
    session = await sessions.of("tab", Address(), User("somebody", "Somebody"))
    theirs = session.chat.conversation
    theirs.refuse(StillAnswering())
    assert await news(http, theirs.id) == await news(http, "0" * 32)
