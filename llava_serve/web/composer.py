"""Composer: the box where a question is typed and images are attached, and its updates."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from llava_serve.web.translations.middleware import at_load

# Gradio turns longer text into a file, which is refused; by its own default at 1,000 characters.
_MAX_TEXT = 1_000_000
_ABOVE = (
    '<div class="refusals"></div><div class="told"></div><p class="page-note" role="status"></p>'
)
# Other ways for an image to come in; `images/` says what they do.
_TOOLS = (
    '<div class="image-tools"><button type="button" class="use-camera">'
    f'{at_load("composer.camera")}</button><p class="why-none"></p></div>'
)


def build(elem_id: str, placeholder: str) -> gr.MultimodalTextbox:
    """Lay out the box, above it the places where `attach.js` and `told.js` say what cannot be
    attached or done, and `pdf.js` which pages are, and below it the other ways for an image to
    come in.

    No `file_types`: Gradio would judge files by their names, here and in the browser.
    """
    gr.HTML(
        html_template=_ABOVE,
        apply_default_css=False,
        elem_id=f"{elem_id}-refusals",
    )
    box = gr.MultimodalTextbox(
        file_count="multiple",
        label=at_load("composer.label"),
        placeholder=placeholder,
        show_label=False,
        container=False,
        max_lines=6,
        max_plain_text_length=_MAX_TEXT,
        elem_id=elem_id,
        elem_classes="composer",
    )
    gr.HTML(
        html_template=_TOOLS,
        js_on_load="window.imageTools(element);",
        apply_default_css=False,
        elem_id=f"{elem_id}-tools",
    )
    return box


def is_empty(message: dict[str, Any]) -> bool:
    """Return whether nothing is typed and nothing attached."""
    return not message["text"].strip() and not message["files"]


def holding(text: str, paths: Sequence[str]) -> dict[str, Any]:
    """Fill it with a question that is ready to be sent."""
    return gr.update(value={"text": text, "files": list(paths)}, submit_btn=True, stop_btn=False)


def cleared() -> dict[str, Any]:
    """Empty it; nothing else of it changes."""
    return gr.update(value={"text": "", "files": []})


def emptied() -> dict[str, Any]:
    """Empty it; an answer is on its way."""
    return gr.update(value={"text": "", "files": []}, submit_btn=False, stop_btn=True)


def offering(*, stop: bool) -> dict[str, Any]:
    """Offer to send or to stop; what is typed stays."""
    return gr.update(submit_btn=not stop, stop_btn=stop)
