"""Pieces of layout and wiring that both tabs are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llava_serve.errors import InvalidField
from llava_serve.web import composer
from llava_serve.web.chat_handlers import ChatView
from llava_serve.web.compare_handlers import CompareView
from llava_serve.web.handlers import Handlers
from llava_serve.web.menu import MenuView
from llava_serve.web.wiring import Wire

# An example card says which it is; a `click` on anything else stays in the browser.
_EXAMPLE_CLICKS = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('.example');
  if (card) trigger('example', {index: Number(card.dataset.index)});
});
"""


@dataclass(frozen=True)
class Talk:
    """The common part of both tabs: what was said, and where the next question is typed."""

    history: gr.HTML
    live: gr.HTML
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
    models.preprocess = _model_names  # type: ignore[method-assign, assignment]
    return MenuView(models, gr.HTML(apply_default_css=False, elem_id=f"{name}-status"))


def _model_names(payload: object) -> object:
    """Take any name: what is served is known elsewhere, and Gradio forgets what it has offered.

    Raises:
        InvalidField: it is no name, nor a list of names.
    """
    names = payload if isinstance(payload, list) else [payload]
    if not all(isinstance(name, str | None) for name in names):
        raise InvalidField("model", "is no name")
    return payload


def talk(name: str, placeholder: str) -> Talk:
    with gr.Column(elem_classes="transcript", elem_id=f"{name}-transcript"):
        history = gr.HTML(
            js_on_load=_EXAMPLE_CLICKS, apply_default_css=False, elem_id=f"{name}-history"
        )
        live = gr.HTML(apply_default_css=False, elem_id=f"{name}-live")
    return Talk(history, live, composer.build(f"{name}-composer", placeholder))


def button(text: str, elem_id: str) -> gr.Button:
    """Make a small button that is inactive until there is something to act on."""
    return gr.Button(
        text,
        size="sm",
        min_width=0,
        scale=0,
        interactive=False,
        elem_id=elem_id,
        elem_classes=["action"],
    )


def wire_talk(
    wire: Wire,
    handlers: Handlers,
    started: Sequence[Any],
    view: ChatView | CompareView,
    outputs: Sequence[Any],
) -> None:
    """Let the answers stream in after each event of `started`, and be stopped and cleared.

    A Stop settles by itself too: when the stream could not even begin, nobody else does.
    """
    for start in started:
        streamed = wire.stream(start.then, handlers.stream, view.live)
        wire.on(streamed.then, handlers.settle, [], outputs)
    stopped = wire.on(view.composer.stop, handlers.stop, [], [])
    wire.on(stopped.then, handlers.settle, [], outputs)
    wire.on(view.clear.click, handlers.clear, [], outputs)
