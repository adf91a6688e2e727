"""The sampling parameters: their controls, and their fields of a request."""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import gradio as gr

from llava_serve.web.translations.middleware import at_load

_TOP_LOGPROBS = 5  # likeliest tokens at each place


@dataclass(frozen=True)
class Parameters:
    """In the order of the controls; None leaves the choice to the worker."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: str = ""
    system: str = ""
    logprobs: bool = False

    def fields(self) -> dict[str, Any]:
        """Return the fields of a chat request that these stand for, without the messages."""
        fields = {name: value for name, value in self.kept().items() if name != "system"}
        return fields | {"top_logprobs": _TOP_LOGPROBS} if self.logprobs else fields

    def kept(self) -> dict[str, Any]:
        """Return what is written down of them; `restored` makes them of it again."""
        named = {**asdict(self), "seed": _number(self.seed)}
        return {
            name: value for name, value in named.items() if not (value is None or value is False)
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> "Parameters":
        """Return what `kept` was written down of, by this version or an older one."""
        known = {name: kept[name] for name in asdict(cls()) if name in kept}
        return cls(**{**known, "seed": str(kept.get("seed", ""))})


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


def _slider(least: float, most: float, **named: Any) -> gr.Slider:
    """Make a slider whose number can be deleted, to leave the worker the choice.

    Not a subclass: beside the source of each Gradio writes a stub file.
    """

    def postprocess(value: Any) -> Any:
        return value

    slider = gr.Slider(least, most, step=0.05, **named)
    slider.postprocess = postprocess  # type: ignore[method-assign]
    return slider


def build() -> list[gr.components.Component]:
    """Lay out the controls; return them in the order of `Parameters`."""
    return [
        _slider(
            *(0, 2),
            value=AT_FIRST.temperature,
            label=at_load("parameters.temperature"),
            info=at_load("parameters.temperature_info"),
        ),
        _slider(
            *(0.05, 1),
            value=AT_FIRST.top_p,
            label=at_load("parameters.top_p"),
            info=at_load("parameters.top_p_info"),
        ),
        gr.Number(
            AT_FIRST.max_tokens,
            precision=0,
            label=at_load("parameters.max_tokens"),
            info=at_load("parameters.max_tokens_info"),
        ),
        # Not a Number: an empty one turns into 0 as soon as it is shown.
        gr.Textbox(
            "",
            label=at_load("parameters.seed"),
            info=at_load("parameters.seed_info"),
            placeholder=at_load("parameters.no_seed"),
        ),
        gr.Textbox(
            "",
            lines=2,
            label=at_load("parameters.system"),
            placeholder=at_load("parameters.no_system"),
        ),
        gr.Checkbox(
            AT_FIRST.logprobs,
            label=at_load("parameters.logprobs"),
            info=at_load("parameters.logprobs_info"),
        ),
    ]
