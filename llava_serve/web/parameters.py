"""The sampling parameters: their controls, and their fields of a request."""

from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Parameters:
    """In the order of the controls; None leaves the choice to the worker."""

    temperature: float
    top_p: float
    max_tokens: int | None
    seed: int | None
    system: str

    def fields(self) -> dict[str, Any]:
        """Return the fields of a chat request that these stand for, without the messages."""
        chosen: dict[str, Any] = {"temperature": self.temperature, "top_p": self.top_p}
        if self.max_tokens is not None:
            chosen["max_tokens"] = self.max_tokens
        if self.seed is not None:
            chosen["seed"] = self.seed
        return chosen


def build() -> list[gr.components.Component]:
    """Lay out the controls, closed; return them in the order of `Parameters`."""
    with gr.Accordion("Parameters", open=False, elem_classes="parameters"):
        return [
            gr.Slider(
                0, 2, 0.2, step=0.05, label="Temperature", info="0 always takes the likeliest"
            ),
            gr.Slider(
                0.05, 1, 1.0, step=0.05, label="Top p", info="share of probability to draw from"
            ),
            gr.Number(
                512,
                precision=0,
                minimum=1,
                label="Max tokens",
                info="empty: what the context holds",
            ),
            gr.Number(None, precision=0, label="Seed", info="makes sampling repeatable"),
            gr.Textbox("", lines=2, label="System prompt", placeholder="the model's own"),
        ]
