"""Pieces of layout that both tabs are made of."""

from dataclasses import dataclass
from typing import Any, TypedDict

import gradio as gr

from llava_serve.web import composer
from llava_serve.web.menu import MenuView

# An example card says which it is; a `click` on anything else stays in the browser.
_EXAMPLE_CLICKS = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('.example');
  if (card) trigger('example', {index: Number(card.dataset.index)});
});
"""


class Quiet(TypedDict):
    queue: bool
    show_progress: Any
    api_visibility: Any


# For events that answer at once: no place in the queue, no spinner, not part of an API.
QUIET: Quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


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
    return MenuView(models, gr.HTML(apply_default_css=False, elem_id=f"{name}-status"))


def talk(name: str, placeholder: str) -> Talk:
    with gr.Column(elem_classes="transcript", elem_id=f"{name}-transcript"):
        history = gr.HTML(
            js_on_load=_EXAMPLE_CLICKS, apply_default_css=False, elem_id=f"{name}-history"
        )
        live = gr.HTML(apply_default_css=False, elem_id=f"{name}-live")
    return Talk(history, live, composer.build(f"{name}-composer", placeholder))


def button(text: str, elem_id: str, title: str | None = None) -> gr.Button:
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
