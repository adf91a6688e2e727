"""The page: both tabs under one title, filled on load and kept up to date by one timer."""

from typing import Any

import gradio as gr

from llava_serve.web import chat_tab, compare_tab, render
from llava_serve.web.asking import Services
from llava_serve.web.chat_handlers import ChatHandlers
from llava_serve.web.compare_handlers import CompareHandlers
from llava_serve.web.controller_link import POLL_S
from llava_serve.web.conversation import Conversation
from llava_serve.web.examples import Example
from llava_serve.web.sessions import Sessions
from llava_serve.web.wiring import QUIET, Wire, session_name, told

TITLE = "llava_serve"
_HEADER = (
    "<header class='page'><strong>llava_serve</strong><span>chat that sees pictures</span></header>"
)
_FOOTER = (
    "<footer class='page'>Models make mistakes. Conversations, pictures and votes are kept on "
    "this server.</footer>"
)
_GRADIO_THREADS = 40


def build(
    services: Services, examples: tuple[Example, ...], *, concurrency: int, embed: bool
) -> gr.Blocks:
    sessions = Sessions()
    chat, compare = ChatHandlers(services, examples), CompareHandlers(services)
    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 24 * 3600),  # uploads live on in the media store
    ) as page:
        if not embed:
            gr.HTML(_HEADER, apply_default_css=False)
        with gr.Tab("Chat"):
            wire = Wire(lambda name: sessions.of(name).chat)
            chat_menu, chat_view = chat_tab.build(chat, wire)
        with gr.Tab("Compare"):
            wire = Wire(lambda name: sessions.of(name).compare)
            compare_menu, compare_view = compare_tab.build(compare, wire)
        if not embed:
            gr.HTML(_FOOTER, apply_default_css=False)

        async def begin(request: gr.Request) -> list[Any]:
            """Give the browser tab conversations of its own; `?model=` names the first choice."""
            with told():
                named = request.query_params.getlist("model")
                mine = sessions.open(session_name(request), named)
                mine.chat.shown = mine.compare.shown = None  # a page that has just loaded has none
                menus = [*chat.refresh(mine.chat), *compare.refresh(mine.compare)]
                return [*menus, *await chat.view(mine.chat), *await compare.view(mine.compare)]

        async def tick(request: gr.Request) -> list[Any]:
            with told():
                mine = sessions.of(session_name(request))
                menus = [*chat.refresh(mine.chat), *compare.refresh(mine.compare)]
                return [*menus, _told_lost(mine.chat), _told_lost(mine.compare)]

        menus = [*chat_menu, *compare_menu]
        page.load(begin, None, [*menus, *chat_view, *compare_view.flat()], **QUIET)
        lives = [chat_view.live, compare_view.live]
        gr.Timer(POLL_S).tick(tick, None, [*menus, *lives], **QUIET)
    page.max_threads = max(_GRADIO_THREADS, concurrency)
    blocks: gr.Blocks = page.queue(default_concurrency_limit=concurrency)
    return blocks


def _told_lost(conversation: Conversation) -> Any:
    """Return what a tab shows that remembers more than the server does, once."""
    if not conversation.is_lost or conversation.exchanges:
        return gr.skip()
    conversation.is_lost = False
    return render.LOST
