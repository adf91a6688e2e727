"""The page: both tabs under one title, filled on load and kept up to date by one timer."""

from typing import Any

import gradio as gr

from llava_serve.web import chat_tab, compare_tab
from llava_serve.web.asking import Services
from llava_serve.web.chat_handlers import ChatHandlers
from llava_serve.web.compare_handlers import CompareHandlers
from llava_serve.web.controller_link import POLL_S
from llava_serve.web.conversation import Conversation
from llava_serve.web.examples import Example
from llava_serve.web.layout import QUIET

TITLE = "llava_serve"
_HEADER = (
    "<header class='page'><strong>llava_serve</strong><span>chat that sees pictures</span></header>"
)
_FOOTER = (
    "<footer class='page'>Models make mistakes. Conversations and votes are kept on this "
    "server.</footer>"
)


def build(
    services: Services, examples: tuple[Example, ...], *, concurrency: int, embed: bool
) -> gr.Blocks:
    chat, compare = ChatHandlers(services, examples), CompareHandlers(services)
    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 24 * 3600),  # uploads live on in the media store
    ) as page:
        chat_state, compare_state = gr.State(Conversation()), gr.State(Conversation())
        if not embed:
            gr.HTML(_HEADER, apply_default_css=False)
        with gr.Tab("Chat"):
            chat_menu, chat_view = chat_tab.build(chat, chat_state)
        with gr.Tab("Compare"):
            compare_menu, compare_view = compare_tab.build(compare, compare_state)
        if not embed:
            gr.HTML(_FOOTER, apply_default_css=False)

        def begin(request: gr.Request) -> list[Any]:
            """Give the browser tab conversations of its own; `?model=` names the first choice."""
            named = tuple(request.query_params.getlist("model"))
            mine, other = Conversation(wanted=named[:1]), Conversation(wanted=named[:4])
            menus = [*chat.refresh(mine), *compare.refresh(other)]
            return [mine, other, *menus, *chat.view(mine), *compare.view(other)]

        def tick(mine: Conversation, other: Conversation) -> list[Any]:
            return [*chat.refresh(mine), *compare.refresh(other)]

        states, menus = [chat_state, compare_state], [*chat_menu, *compare_menu]
        page.load(begin, None, [*states, *menus, *chat_view, *compare_view.flat()], **QUIET)
        gr.Timer(POLL_S).tick(tick, states, menus, **QUIET)
    blocks: gr.Blocks = page.queue(default_concurrency_limit=concurrency)
    return blocks
