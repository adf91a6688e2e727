"""The layout of the chat tab, and which control calls which handler."""

from collections.abc import Sequence
from functools import partial

import gradio as gr

from llava_serve.web import layout, parameters
from llava_serve.web.chat_handlers import ChatHandlers, ChatView
from llava_serve.web.layout import QUIET
from llava_serve.web.menu import MenuView


def build(handlers: ChatHandlers, state: gr.State) -> tuple[MenuView, ChatView]:
    """Lay the tab out; return the components that a page load and the model poll fill."""
    with gr.Row(elem_classes="tab-row"):
        with gr.Column(scale=0, min_width=260, elem_classes="side"):
            menu = layout.menu("chat", "Model")
            controls = parameters.build()
        with gr.Column(scale=1, min_width=0, elem_classes="main"):
            view = _talk()
    menu.models.input(handlers.choose, [menu.models, state], view.budget, **QUIET)
    _wire_asking(handlers, state, view, controls)
    _wire_votes(handlers, state, view)
    return menu, view


def _talk() -> ChatView:
    talk = layout.talk("chat", "Ask about a picture …")
    with gr.Row(elem_classes="actions"):
        again = layout.button("↻ Regenerate", "again")
        more = layout.button("→ Continue", "continue")
        edit = layout.button("✎ Edit last", "edit")
        clear = layout.button("✕ Clear", "clear")
        up = layout.button("👍", "vote-up")
        down = layout.button("👎", "vote-down")
        flag = layout.button("⚑", "vote-flag")
    budget = gr.HTML(elem_classes="budget-line", apply_default_css=False)
    return ChatView(
        talk.composer, talk.history, talk.live, budget, again, more, edit, clear, up, down, flag
    )


def _wire_asking(
    handlers: ChatHandlers,
    state: gr.State,
    view: ChatView,
    controls: Sequence[gr.components.Component],
) -> None:
    started = (
        view.composer.submit(handlers.submit, [view.composer, state], view, **QUIET),
        view.again.click(handlers.again, state, view, **QUIET),
        view.more.click(handlers.more, state, view, **QUIET),
    )
    for start in started:
        start.then(
            handlers.stream,
            [state, *controls],
            view.live,
            show_progress="hidden",
            api_visibility="private",
        ).then(handlers.settle, state, view, **QUIET)
    view.composer.stop(handlers.stop, state, None, **QUIET)
    view.edit.click(handlers.edit, state, view, **QUIET)
    view.clear.click(handlers.clear, state, view, **QUIET)
    view.history.example(handlers.example, None, view.composer, **QUIET)


def _wire_votes(handlers: ChatHandlers, state: gr.State, view: ChatView) -> None:
    for kind, control in (("up", view.up), ("down", view.down), ("flag", view.flag)):
        control.click(partial(handlers.vote, kind), state, view, **QUIET)
