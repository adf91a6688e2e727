"""Arena panel: the layout of a battle, and what each control calls."""

from functools import partial

import gradio as gr

from llava_serve.arena.tally import Tag, Winner
from llava_serve.web import chat_panel, composer
from llava_serve.web.arena.handlers import ARENA_TAB, ArenaHandlers
from llava_serve.web.chat_panel import ChatPanel, Controls
from llava_serve.web.event_binder import EventBinder
from llava_serve.web.translations.middleware import at_load

TASKS: dict[Tag, str] = {
    "text": "arena.task.text",
    "counting": "arena.task.counting",
    "scene": "arena.task.scene",
    "chart": "arena.task.chart",
    "other": "arena.task.other",
}
_VOTES: dict[Winner, tuple[str, str | None]] = {
    "a": ("arena.vote.a", None),
    "b": ("arena.vote.b", None),
    "tie": ("arena.vote.tie", "tie"),
    "both_bad": ("arena.vote.both_bad", "down"),
}


def build(handlers: ArenaHandlers, binder: EventBinder) -> ChatPanel:
    """Lay the tab out, and bind its controls to the handlers."""
    with gr.Row(elem_classes="tab-row"):
        main = gr.Column(scale=1, min_width=0, elem_classes="main")
        with gr.Column(scale=0, min_width=260, elem_classes="side"):
            status = gr.HTML(apply_default_css=False, elem_id="arena-status")
            tag = gr.Dropdown(
                choices=[
                    (at_load("arena.task_not_said"), ""),
                    *((at_load(key), tag) for tag, key in TASKS.items()),
                ],
                value="",
                label=at_load("arena.task"),
                info=at_load("arena.task_info"),
                elem_id="arena-task",
            )
    with main:
        controls: Controls = {
            "composer": composer.build("arena-composer", at_load("arena.placeholder"))
        }
        history, controls["signal"] = chat_panel.transcript(ARENA_TAB)
        with gr.Row(elem_classes="actions"):
            for winner, (key, icon) in _VOTES.items():
                name = f"arena-{winner.replace('_', '-')}"
                controls[winner] = chat_panel.button(at_load(key), name, icon)
            controls["clear"] = chat_panel.button(at_load("arena.clear"), "arena-clear", "clear")
    controls["tag"] = tag
    panel = ChatPanel(handlers, {"status": status}, [], controls)
    _bind(panel, handlers, binder)
    chat_panel.bind_examples(panel, binder, history)
    return panel


def _bind(panel: ChatPanel, handlers: ArenaHandlers, binder: EventBinder) -> None:
    controls, bind = panel.controls, binder.bind
    box, tag = controls["composer"], controls["tag"]
    bind(box.submit, handlers.submit, [box, tag], controls)
    bind(box.stop, handlers.stop, [], controls)
    bind(controls["signal"].quiet, handlers.settle, [], controls)
    bind(controls["clear"].click, handlers.clear, [], controls)
    for winner in _VOTES:
        bind(controls[winner].click, partial(handlers.elect, winner), [tag], controls)
    chat_panel.bind_drafts(panel, binder)
    chat_panel.bind_notice(panel, binder)
