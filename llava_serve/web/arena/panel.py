"""Arena panel: the layout of a battle, and what each control calls."""

from functools import partial

import gradio as gr

from llava_serve.arena.tally import Tag, Winner
from llava_serve.web import chat_panel, composer
from llava_serve.web.arena.handlers import ARENA_TAB, ArenaHandlers
from llava_serve.web.chat_panel import ChatPanel, Controls
from llava_serve.web.event_binder import EventBinder

TASKS: dict[Tag, str] = {
    "text": "Reading text",
    "counting": "Counting",
    "scene": "Scene",
    "chart": "Chart or diagram",
    "other": "Something else",
}
_PLACEHOLDER = "Ask two models without names …"
_TASK, _TASK_INFO, _NO_TASK = "Task", "optional; the leaderboard is split by it", "Not said"
_VOTES: dict[Winner, tuple[str, str | None]] = {
    "a": ("A is better", None),
    "b": ("B is better", None),
    "tie": ("Tie", "tie"),
    "both_bad": ("Both bad", "down"),
}
_CLEAR = "New battle"


def build(handlers: ArenaHandlers, binder: EventBinder) -> ChatPanel:
    """Lay the tab out, and bind its controls to the handlers."""
    with gr.Row(elem_classes="tab-row"):
        main = gr.Column(scale=1, min_width=0, elem_classes="main")
        with gr.Column(scale=0, min_width=260, elem_classes="side"):
            status = gr.HTML(apply_default_css=False, elem_id="arena-status")
            tag = gr.Dropdown(
                choices=[(_NO_TASK, ""), *((words, key) for key, words in TASKS.items())],
                value="",
                label=_TASK,
                info=_TASK_INFO,
                elem_id="arena-task",
            )
    with main:
        controls: Controls = {"composer": composer.build("arena-composer", _PLACEHOLDER)}
        _, controls["signal"] = chat_panel.transcript(ARENA_TAB)
        with gr.Row(elem_classes="actions"):
            for winner, (words, icon) in _VOTES.items():
                name = f"arena-{winner.replace('_', '-')}"
                controls[winner] = chat_panel.button(words, name, icon)
            controls["clear"] = chat_panel.button(_CLEAR, "arena-clear", "clear")
    controls["tag"] = tag
    panel = ChatPanel(handlers, {"status": status}, [], controls)
    _bind(panel, handlers, binder)
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
