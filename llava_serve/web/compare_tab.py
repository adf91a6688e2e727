"""The layout of the comparison, and which control calls which handler."""

from collections.abc import Sequence
from functools import partial

import gradio as gr

from llava_serve.web import layout, parameters
from llava_serve.web.compare_handlers import MOST, CompareHandlers, CompareView
from llava_serve.web.layout import QUIET
from llava_serve.web.menu import MenuView
from llava_serve.web.render import LETTERS


def build(handlers: CompareHandlers, state: gr.State) -> tuple[MenuView, CompareView]:
    """Lay the tab out; return the components that a page load and the model poll fill."""
    with gr.Row(elem_classes="tab-row"):
        with gr.Column(scale=0, min_width=260, elem_classes="side"):
            menu = layout.menu("compare", "Models", MOST)
            controls = parameters.build()
        with gr.Column(scale=1, min_width=0, elem_classes="main"):
            view = _talk(menu)
    menu.models.input(handlers.choose, [menu.models, state], None, **QUIET)
    _wire_asking(handlers, state, view, controls)
    _wire_votes(handlers, state, view)
    return menu, view


def _talk(menu: MenuView) -> CompareView:
    talk = layout.talk("compare", "Ask all of them …")
    with gr.Row(elem_classes="actions"):
        again = layout.button("↻ Regenerate", "compare-again")
        clear = layout.button("✕ New comparison", "compare-clear")
        better = tuple(
            layout.button(f"{letter} is better", f"better-{letter}") for letter in LETTERS
        )
        tie = layout.button("Tie", "vote-tie")
        bad = layout.button("Both bad", "vote-both-bad")
    return CompareView(
        talk.composer, talk.history, talk.live, menu.models, again, clear, better, tie, bad
    )


def _wire_asking(
    handlers: CompareHandlers,
    state: gr.State,
    view: CompareView,
    controls: Sequence[gr.components.Component],
) -> None:
    outputs = view.flat()
    started = (
        view.composer.submit(handlers.submit, [view.composer, state], outputs, **QUIET),
        view.again.click(handlers.again, state, outputs, **QUIET),
    )
    for start in started:
        start.then(
            handlers.stream,
            [state, *controls],
            view.live,
            show_progress="hidden",
            api_visibility="private",
        ).then(handlers.settle, state, outputs, **QUIET)
    view.composer.stop(handlers.stop, state, None, **QUIET)
    view.clear.click(handlers.clear, state, outputs, **QUIET)


def _wire_votes(handlers: CompareHandlers, state: gr.State, view: CompareView) -> None:
    outputs = view.flat()
    for slot, control in enumerate(view.better):
        control.click(partial(handlers.vote_better, slot), state, outputs, **QUIET)
    view.tie.click(handlers.vote_tie, state, outputs, **QUIET)
    view.bad.click(handlers.vote_both_bad, state, outputs, **QUIET)
