"""The page: both tabs under one title, filled on load and kept up to date by one timer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response

from llava_serve.web import chat_tab, compare_tab, parameters
from llava_serve.web.asking import Services
from llava_serve.web.chat_handlers import ChatHandlers
from llava_serve.web.compare_handlers import CompareHandlers
from llava_serve.web.controller_link import POLL_S
from llava_serve.web.examples import Example
from llava_serve.web.sessions import Place, Session, Sessions
from llava_serve.web.transcript import answer
from llava_serve.web.wiring import QUIET, Wire, address, session_name, told

TITLE = "llava_serve"
_HEADER = "<header class='page'><h1>llava_serve</h1><span>chat that sees pictures</span></header>"
_HEADING = "<h1 class='unseen'>llava_serve: chat that sees pictures</h1>"
_FOOTER = (
    "<footer class='page'>Models make mistakes. Conversations, pictures and votes are kept on "
    "this server.</footer>"
)
_GRADIO_THREADS = 40


@dataclass(frozen=True)
class Built:
    """The page, and the route by which its transcripts come."""

    blocks: gr.Blocks
    transcript: Callable[[Request], Awaitable[Response]]


def build(services: Services, examples: tuple[Example, ...], *, embed: bool) -> Built:
    sessions = Sessions(services.store, services.media)
    chat, compare = ChatHandlers(services, examples), CompareHandlers(services)

    async def session(request: gr.Request) -> Session:
        return await sessions.of(session_name(request), address(request))

    async def chat_place(request: gr.Request) -> Place:
        return (await session(request)).chat

    async def compare_place(request: gr.Request) -> Place:
        return (await session(request)).compare

    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 24 * 3600),  # uploads live on in the media store
    ) as page:
        gr.HTML(_HEADING if embed else _HEADER, apply_default_css=False)
        with gr.Tab("Chat", elem_id="chat-tab"):
            chat_menu, chat_view, chat_controls = chat_tab.build(chat, Wire(chat_place))
        with gr.Tab("Compare", elem_id="compare-tab"):
            compare_menu, compare_view, compare_controls = compare_tab.build(
                compare, Wire(compare_place)
            )
        if not embed:
            gr.HTML(_FOOTER, apply_default_css=False)

        async def begin(request: gr.Request) -> list[Any]:
            """Show what the address names: conversations, or the model to begin one with."""
            with told():
                mine = await session(request)
                mine.chat.shown = mine.compare.shown = None  # a page that has just loaded has none
                one, other = mine.chat.conversation, mine.compare.conversation
                return [
                    *[*chat.refresh(mine.chat), *compare.refresh(mine.compare)],
                    *[*await chat.view(one), *await compare.view(other)],
                    *[*parameters.shown(one.asked), *parameters.shown(other.asked)],
                ]

        async def tick(request: gr.Request) -> list[Any]:
            with told():
                mine = await session(request)
                menus = [*chat.refresh(mine.chat), *compare.refresh(mine.compare)]
                one, other = mine.chat.conversation, mine.compare.conversation
                return [*menus, chat.signal(one), compare.signal(other)]

        menus = [*chat_menu, *compare_menu]
        views = [*chat_view, *compare_view.flat(), *chat_controls, *compare_controls]
        page.load(begin, None, [*menus, *views], **QUIET)
        signals = [chat_view.signal, compare_view.signal]
        gr.Timer(POLL_S).tick(tick, None, [*menus, *signals], **QUIET)
    page.max_threads = _GRADIO_THREADS

    async def transcript(request: Request) -> Response:
        return await answer(request, sessions.find, {"chat": chat.draw, "compare": compare.draw})

    return Built(page, transcript)
