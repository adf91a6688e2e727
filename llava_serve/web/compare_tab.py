"""The layout of the comparison, and which control calls which handler."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from llava_serve.web import layout, parameters
from llava_serve.web.compare_handlers import MOST, CompareHandlers, CompareView
from llava_serve.web.menu import MenuView
from llava_serve.web.render import LETTERS
from llava_serve.web.wiring import Wire


def build(handlers: CompareHandlers, wire: Wire) -> tuple[MenuView, CompareView, Sequence[Any]]:
    """Lay the tab out; return the components that a page load and the model poll fill."""
    with gr.Row(elem_classes="tab-row"):
        main = gr.Column(scale=1, min_width=0, elem_classes="main")
        with gr.Column(scale=0, min_width=260, elem_classes="side"):
            menu = layout.menu("compare", "Models", MOST)
            controls = parameters.build()
    with main:
        talk, view = _talk(menu)
    outputs = view.flat()
    wire.on(menu.models.input, handlers.choose, [menu.models], [])
    wire.on(view.composer.submit, handlers.submit, [view.composer, *controls], outputs)
    wire.on(view.again.click, handlers.again, controls, outputs)
    layout.wire_talk(wire, handlers, talk.history, view, outputs)
    _wire_votes(handlers, wire, view)
    return menu, view, controls


def _talk(menu: MenuView) -> tuple[layout.Talk, CompareView]:
    talk = layout.talk("compare", "Ask all of them …")
    with gr.Row(elem_classes="actions"):
        again = layout.button("Regenerate", "compare-again", "again")
        clear = layout.button("New comparison", "compare-clear", "clear")
        undo = layout.button("Undo", "compare-undo", "undo")
        better = tuple(
            layout.button(f"{letter} is better", f"better-{letter}") for letter in LETTERS
        )
        tie = layout.button("Tie", "vote-tie", "tie")
        bad = layout.button("Both bad", "vote-both-bad", "down")
    return talk, CompareView(
        talk.composer, talk.signal, menu.models, again, clear, undo, better, tie, bad
    )


def _wire_votes(handlers: CompareHandlers, wire: Wire, view: CompareView) -> None:
    outputs = view.flat()
    for slot, control in enumerate(view.better):
        wire.on(control.click, partial(handlers.vote_better, slot), [], outputs)
    wire.on(view.tie.click, partial(handlers.vote_all, "tie"), [], outputs)
    wire.on(view.bad.click, partial(handlers.vote_all, "both_bad"), [], outputs)
