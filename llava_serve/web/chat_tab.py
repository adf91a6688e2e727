"""The layout of the chat tab, and which control calls which handler."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from llava_serve.web import layout, parameters
from llava_serve.web.chat_handlers import ChatHandlers, ChatView, ExampleClick
from llava_serve.web.menu import MenuView
from llava_serve.web.wiring import Wire


def build(handlers: ChatHandlers, wire: Wire) -> tuple[MenuView, ChatView, Sequence[Any]]:
    """Lay the tab out; return the components that a page load and the model poll fill."""
    with gr.Row(elem_classes="tab-row"):
        with gr.Column(scale=1, min_width=0, elem_classes="main"):
            talk, view = _talk()
        with gr.Column(scale=0, min_width=260, elem_classes="side"):
            menu = layout.menu("chat", "Model")
            controls = parameters.build()
    wire.on(menu.models.input, handlers.choose, [menu.models], [view.budget])
    wire.on(view.composer.submit, handlers.submit, [view.composer, *controls], view)
    wire.on(view.again.click, handlers.again, controls, view)
    wire.on(view.more.click, handlers.more, controls, view)
    wire.on(view.edit.click, handlers.edit, [view.composer], view)
    wire.plain(talk.history.example, ExampleClick, handlers.example, [view.composer])
    layout.wire_talk(wire, handlers, talk.history, view, view)
    return menu, view, controls


def _talk() -> tuple[layout.Talk, ChatView]:
    talk = layout.talk("chat", "Ask about a picture …")
    with gr.Row(elem_classes="actions"):
        again = layout.button("Regenerate", "again", "again")
        more = layout.button("Continue", "continue", "more")
        edit = layout.button("Edit last", "edit", "edit")
        clear = layout.button("Clear", "clear", "clear")
        undo = layout.button("Undo", "undo", "undo")
    budget = gr.HTML(elem_classes="budget-line", apply_default_css=False)
    return talk, ChatView(talk.composer, talk.signal, budget, again, more, edit, clear, undo)
