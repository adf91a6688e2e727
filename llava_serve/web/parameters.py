"""The sampling parameters: their controls, and their fields of a request."""

from dataclasses import astuple, dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Parameters:
    """In the order of the controls; None leaves the choice to the worker."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: str = ""
    system: str = ""

    def fields(self) -> dict[str, Any]:
        """Return the fields of a chat request that these stand for, without the messages."""
        named = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": _number(self.seed),
        }
        return {name: value for name, value in named.items() if value is not None}


AT_FIRST = Parameters(temperature=0.2, top_p=1.0, max_tokens=512)


def shown(asked: Parameters | None) -> list[Any]:
    """Return the values of the controls of a conversation that was asked with these.

    Never as updates: at one of those Gradio makes the control anew, with its own check.
    """
    return list(astuple(AT_FIRST if asked is None else asked))


def _number(typed: str) -> int | str | None:
    """Return the number that was typed; of what is none the worker says so by its field's name."""
    try:
        return int(typed) if typed.strip() else None
    except ValueError:
        return typed


def _can_be_empty(slider: gr.Slider) -> gr.Slider:
    """Show no number as none: it can be deleted, to leave the worker the choice.

    Not a subclass: beside the source of each Gradio writes a stub file.
    """

    def postprocess(value: float | None) -> float | None:
        return value

    slider.postprocess = postprocess  # type: ignore[method-assign, assignment]
    return slider


def build() -> list[gr.components.Component]:
    """Lay out the controls, closed; return them in the order of `Parameters`."""
    with gr.Accordion("Parameters", open=False, elem_classes="parameters"):
        return [
            _can_be_empty(
                gr.Slider(
                    0,
                    2,
                    AT_FIRST.temperature,
                    step=0.05,
                    label="Temperature",
                    info="0 always takes the likeliest",
                )
            ),
            _can_be_empty(
                gr.Slider(
                    0.05,
                    1,
                    AT_FIRST.top_p,
                    step=0.05,
                    label="Top p",
                    info="share of probability to draw from",
                )
            ),
            gr.Number(
                AT_FIRST.max_tokens,
                precision=0,
                label="Max tokens",
                info="empty: what the context holds",
            ),
            # Not a Number: an empty one turns into 0 as soon as it is shown.
            gr.Textbox("", label="Seed", info="makes sampling repeatable", placeholder="none"),
            gr.Textbox("", lines=2, label="System prompt", placeholder="the model's own"),
        ]
