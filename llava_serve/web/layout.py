"""Pieces of layout and wiring that both tabs are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llava_serve.web import composer
from llava_serve.web.chat_handlers import ChatView
from llava_serve.web.compare_handlers import CompareView
from llava_serve.web.handlers import Draft, Handlers, VoteClick
from llava_serve.web.menu import MenuView
from llava_serve.web.wiring import Wire

# An example card and a vote say which they are; a `click` on anything else stays in the browser.
# What stands in the element is the work of `conversation.js`.
_CLICKS = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('.example');
  if (card) trigger('example', {index: Number(card.dataset.index)});
  const vote = event.target.closest('[data-vote]');
  if (vote) trigger('vote', {index: vote.dataset.answer, kind: vote.dataset.vote});
});
"""
# `quiet` is the end of all that the transcript waits for: the controls follow. `draft` has files
# that were in the box when the page was left.
_SIGNALS = """
(window.conversations ??= []).push({
  element, props, watch, quiet: () => trigger('quiet'), lend: (draft) => trigger('draft', draft),
});
"""


@dataclass(frozen=True)
class Talk:
    """The common part of both tabs: what was said, and where the next question is typed."""

    history: gr.HTML
    signal: gr.HTML
    composer: gr.MultimodalTextbox


def menu(name: str, label: str, most: int = 1) -> MenuView:
    """Make a model menu; with `most` above 1 several can be chosen."""
    models = gr.Dropdown(
        choices=[],
        label=label,
        multiselect=most > 1,
        max_choices=most if most > 1 else None,
        filterable=most > 1,
        elem_id=f"{name}-model",
    )
    return MenuView(models, gr.HTML(apply_default_css=False, elem_id=f"{name}-status"))


def talk(name: str, placeholder: str) -> Talk:
    # The box comes first, and is soon reached by Tab; the style sheet puts it below.
    box = composer.build(f"{name}-composer", placeholder)
    with gr.Column(elem_classes="transcript", elem_id=f"{name}-transcript"):
        history = _part(f"{name}-history", _CLICKS)
        _part(f"{name}-live")
        _part(f"{name}-notice")
        _part(f"{name}-link")
    signal = gr.HTML(
        html_template=f'<span data-kind="{name}" hidden></span>',
        js_on_load=_SIGNALS,
        apply_default_css=False,
        elem_id=f"{name}-signal",
        elem_classes="signal",
    )
    return Talk(history, signal, box)


def _part(elem_id: str, script: str | None = None) -> gr.HTML:
    """Make an empty place that `conversation.js` fills."""
    return gr.HTML(
        html_template='<div class="pieces"></div>',
        js_on_load=script,
        apply_default_css=False,
        elem_id=elem_id,
    )


def button(text: str, elem_id: str, icon: str | None = None) -> gr.Button:
    """Make a small button that is inactive until there is something to act on."""
    return gr.Button(
        text,
        size="sm",
        min_width=0,
        scale=0,
        interactive=False,
        elem_id=elem_id,
        elem_classes=["action", *([f"icon-{icon}"] if icon else [])],
    )


def wire_talk(
    wire: Wire,
    handlers: Handlers,
    history: gr.HTML,
    view: ChatView | CompareView,
    outputs: Sequence[Any],
) -> None:
    """Wire what both tabs do beside asking: stop, clear, undo and vote; and what follows it."""
    wire.on(view.signal.quiet, handlers.settle, [], outputs)
    wire.plain(view.signal.draft, Draft, handlers.draft, [view.composer])
    view.composer.change(
        None,
        [view.composer],
        None,
        js=f"(draft) => window.conversations.attached?.('{handlers.kind}', draft?.files ?? [])",
        api_visibility="private",
    )
    wire.on(view.composer.stop, handlers.stop, [], outputs)
    wire.on_place(view.clear.click, handlers.clear, [], outputs)
    wire.on_place(view.undo.click, handlers.undo, [view.composer], outputs)
    wire.on_data(history.vote, VoteClick, handlers.vote, outputs)
