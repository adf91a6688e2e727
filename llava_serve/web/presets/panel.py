"""Panel of presets: a menu, a name and three buttons, above the parameters that they fill."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from llava_serve.storage.identity import Identity
from llava_serve.storage.presets import Presets
from llava_serve.storage.store import Store
from llava_serve.web.event_binder import EventBinder, identity
from llava_serve.web.presets.handlers import PresetHandlers
from llava_serve.web.translations.middleware import at_load

_BUTTONS = {"save": "presets.save", "rename": "presets.rename", "delete": "presets.delete"}


@dataclass(frozen=True)
class PresetPanel:
    """The controls by the names that the views of the handlers have for them."""

    controls: dict[str, Any]


def build(kind: str) -> PresetPanel:
    """Lay the panel out."""
    preset = gr.Dropdown(
        choices=[],
        value=None,
        label=at_load("presets.preset"),
        filterable=False,
        elem_id=f"{kind}-preset",
    )
    name = gr.Textbox(
        "",
        label=at_load("presets.name"),
        placeholder=at_load("presets.name_hint"),
        elem_id=f"{kind}-preset-name",
    )
    with gr.Row(elem_classes="preset-buttons"):
        buttons = {
            what: gr.Button(at_load(key), size="sm", min_width=0, elem_id=f"{kind}-preset-{what}")
            for what, key in _BUTTONS.items()
        }
    said = gr.HTML(
        html_template='<p role="status" class="preset-said"></p>',
        js_on_load=_SAY,
        apply_default_css=False,
        elem_id=f"{kind}-preset-said",
    )
    return PresetPanel({"preset": preset, "name": name, "said": said, **buttons})


# As text: the name of a preset is a user's.
_SAY = """
const tell = () => { element.querySelector('p').textContent = props.value ?? ''; };
watch('value', tell);
tell();
"""


def bind(
    page: gr.Blocks,
    store: Store,
    panels: Sequence[tuple[PresetPanel, Sequence[gr.components.Component]]],
) -> None:
    """Connect each panel with the parameters below it; a load of the page fills the menus."""
    presets = Presets(store)
    binder = EventBinder(_whose)
    for panel, parameters in panels:
        _bind(page, binder, panel.controls, presets, parameters)


async def _whose(request: gr.Request) -> Identity:
    return identity(request)


def _bind(
    page: gr.Blocks,
    binder: EventBinder,
    controls: dict[str, Any],
    presets: Presets,
    parameters: Sequence[gr.components.Component],
) -> None:
    named = {f"parameter {n}": one for n, one in enumerate(parameters)}
    handlers = PresetHandlers(presets, list(named))
    preset, name = controls["preset"], controls["name"]
    menu, told = {"preset": preset}, {"preset": preset, "said": controls["said"]}
    filled = {"name": name, "said": controls["said"], **named}
    binder.bind(page.load, handlers.refresh, [], menu)
    binder.bind(preset.focus, handlers.refresh, [], menu)
    binder.bind(preset.input, handlers.choose, [preset], filled)
    binder.bind(controls["save"].click, handlers.save, [name, *parameters], told)
    binder.bind(controls["rename"].click, handlers.rename, [preset, name], told)
    binder.bind(controls["delete"].click, handlers.delete, [preset], told)
