"""Chat panel: the layout of a tab for one model or several, and what each control calls."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from llava_serve.web import composer, parameters
from llava_serve.web.branches.branch_handlers import (
    BranchHandlers,
    CancelClick,
    EditClick,
    VersionClick,
)
from llava_serve.web.event_binder import EventBinder
from llava_serve.web.handlers import DismissClick, Draft, ExampleClick, Handlers, Tab, VoteClick
from llava_serve.web.presets import panel as preset_panel
from llava_serve.web.presets.panel import PresetPanel
from llava_serve.web.render import LETTERS
from llava_serve.web.translations.middleware import at_load

# An example card, a vote, a pencil and an arrow say which they are; a `click` on anything else
# stays in the browser. What stands in the element is the work of `conversation.js`.
_CLICKS = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('.example');
  if (card) trigger('example', {index: Number(card.dataset.index)});
  const vote = event.target.closest('[data-vote]');
  if (vote) trigger('vote', {index: vote.dataset.answer, kind: vote.dataset.vote});
  const pencil = event.target.closest('[data-edit]');
  if (pencil) {
    element.closest('.main').querySelector('.composer textarea').focus();
    trigger('edit', {turn: Number(pencil.dataset.edit)});
  }
  const arrow = event.target.closest('[data-step]:not([aria-disabled])');
  if (arrow) {
    const {turn, of, step} = arrow.dataset;
    trigger('version', {turn: Number(turn), of, step: Number(step)});
  }
});
"""
_CANCEL = """
element.addEventListener('click', (event) => {
  if (event.target.closest('.cancel-edit')) trigger('cancel', {});
});
"""
# `quiet` is the end of all that the transcript waits for: the controls follow. `draft` has files
# that were in the box when the page was left; `files` asks which are in it. `dismiss` names the
# notice that has been read.
_SIGNALS = """
(window.conversations ??= []).push({
  element, props, watch, quiet: () => trigger('quiet'), lend: (draft) => trigger('draft', draft),
  askFiles: () => trigger('files'), dismiss: (card) => trigger('dismiss', card),
});
"""
Controls = dict[str, Any]
"""Components by the names that the views of the handlers have for them; Gradio types no events."""
_PLACEHOLDERS = {"chat": "chat.placeholder", "compare": "compare.placeholder"}
_CLEAR = {"chat": "chat.clear", "compare": "compare.clear"}


@dataclass(frozen=True)
class ChatPanel:
    """The components of a tab: `controls` follow its conversation, `menu` what is served."""

    handlers: Handlers
    menu: Controls
    parameters: list[gr.components.Component]
    controls: Controls
    presets: PresetPanel | None = None


def build(handlers: Handlers, binder: EventBinder) -> ChatPanel:
    """Lay a tab out, and bind its controls to the handlers."""
    tab = handlers.tab
    with gr.Row(elem_classes="tab-row"):
        main = gr.Column(scale=1, min_width=0, elem_classes="main")
        with gr.Column(scale=0, min_width=260, elem_classes="side"):
            menu = _menu(tab)
            with gr.Accordion(at_load("parameters.heading"), open=False, elem_classes="parameters"):
                presets = preset_panel.build(tab.kind)
                sampling = parameters.build()
    with main:
        # The box comes first, and is soon reached by Tab; the style sheet puts it below.
        placeholder = at_load(_PLACEHOLDERS[tab.kind])
        controls: Controls = {"composer": composer.build(f"{tab.kind}-composer", placeholder)}
        editing = gr.HTML(
            js_on_load=_CANCEL,
            apply_default_css=False,
            elem_id=f"{tab.kind}-editing",
            elem_classes="editing-line",
        )
        history, controls["signal"] = transcript(tab)
        controls |= _buttons(tab)
        if tab.is_comparison:
            controls["models"] = menu["models"]  # a comparison that has begun keeps them
        controls["budget"] = gr.HTML(elem_classes="budget-line", apply_default_css=False)
        _part(f"{tab.kind}-cost")  # of the draft; `inspection.js` fills it
    panel = ChatPanel(handlers, menu, sampling, controls, presets)
    _bind(panel, binder)
    _bind_branches(panel, binder, history, editing)
    return panel


def _menu(tab: Tab) -> Controls:
    """Make the model menu, in which a comparison can choose several."""
    models = gr.Dropdown(
        choices=[],
        label=at_load("compare.models" if tab.is_comparison else "chat.model"),
        multiselect=tab.is_comparison,
        max_choices=tab.most_models if tab.is_comparison else None,
        filterable=tab.is_comparison,
        elem_id=f"{tab.kind}-model",
    )
    status = gr.HTML(apply_default_css=False, elem_id=f"{tab.kind}-status")
    return {"models": models, "status": status}


def transcript(tab: Tab) -> tuple[gr.HTML, gr.HTML]:
    """Make the places of a conversation; return those of its clicks and of its signals."""
    with gr.Column(elem_classes="transcript", elem_id=f"{tab.kind}-transcript"):
        history = _part(f"{tab.kind}-history", _CLICKS)
        for name in ("live", "notice", "link"):
            _part(f"{tab.kind}-{name}")
    signal = gr.HTML(
        html_template=f'<span data-kind="{tab.kind}" hidden></span>',
        js_on_load=_SIGNALS,
        apply_default_css=False,
        elem_id=f"{tab.kind}-signal",
        elem_classes="signal",
    )
    return history, signal


def _part(elem_id: str, script: str | None = None) -> gr.HTML:
    """Make an empty place that `conversation.js` fills."""
    return gr.HTML(
        html_template='<div class="parts"></div>',
        js_on_load=script,
        apply_default_css=False,
        elem_id=elem_id,
    )


def _buttons(tab: Tab) -> Controls:
    prefix = "compare-" if tab.is_comparison else ""
    with gr.Row(elem_classes="actions"):
        buttons = {"again": button(at_load("chat.regenerate"), f"{prefix}again", "again")}
        if not tab.is_comparison:
            buttons["more"] = button(at_load("chat.continue"), "continue", "more")
        buttons["clear"] = button(at_load(_CLEAR[tab.kind]), f"{prefix}clear", "clear")
        buttons["undo"] = button(at_load("chat.undo"), f"{prefix}undo", "undo")
        if tab.is_comparison:
            for letter in LETTERS[: tab.most_models]:
                buttons[letter] = button(letter, f"better-{letter}")
            buttons["tie"] = button(at_load("compare.tie"), "vote-tie", "tie")
            buttons["both_bad"] = button(at_load("compare.both_bad"), "vote-both-bad", "down")
    return buttons


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


def _bind(panel: ChatPanel, binder: EventBinder) -> None:
    handlers, controls, bind = panel.handlers, panel.controls, binder.bind
    box, signal = controls["composer"], controls["signal"]
    chosen = {"budget": controls["budget"], "signal": signal}
    bind(panel.menu["models"].input, handlers.choose, [panel.menu["models"]], chosen)
    bind(controls["again"].click, handlers.again, panel.parameters, controls)
    bind(signal.quiet, handlers.settle, [], controls)
    bind(box.stop, handlers.stop, [], controls)
    bind_drafts(panel, binder)
    bind_notice(panel, binder)
    if handlers.tab.is_comparison:
        for slot, letter in enumerate(LETTERS):
            bind(controls[letter].click, partial(handlers.prefer, "better", slot), [], controls)
        for kind in ("tie", "both_bad"):
            bind(controls[kind].click, partial(handlers.prefer, kind, None), [], controls)
    else:
        bind(controls["more"].click, handlers.more, panel.parameters, controls)


def _bind_branches(
    panel: ChatPanel, binder: EventBinder, history: gr.HTML, editing: gr.HTML
) -> None:
    """Bind what happens within the transcript, and what begins or ends an edit."""
    handlers, branches, bind = panel.handlers, BranchHandlers(panel.handlers), binder.bind
    box, controls = panel.controls["composer"], panel.controls
    shown = {**controls, "editing": editing}
    bind(box.submit, branches.submit, [box, *panel.parameters], shown)
    bind(controls["clear"].click, branches.clear, [], shown)
    bind(controls["undo"].click, branches.undo, [], shown)
    binder.bind_data(history.vote, VoteClick, handlers.vote, controls)
    binder.bind_data(history.edit, EditClick, branches.edit, shown, [box])
    binder.bind_data(history.version, VersionClick, branches.go, shown)
    binder.bind_data(editing.cancel, CancelClick, branches.cancel, shown)
    bind_examples(panel, binder, history)


def bind_examples(panel: ChatPanel, binder: EventBinder, history: gr.HTML) -> None:
    """Let the examples of an empty conversation fill the box."""
    shown = {"composer": panel.controls["composer"]}
    binder.bind_data(history.example, ExampleClick, panel.handlers.example, shown)


def bind_notice(panel: ChatPanel, binder: EventBinder) -> None:
    """Let a user close the card that says what went wrong."""
    signal, dismiss = panel.controls["signal"], panel.handlers.dismiss
    binder.bind_data(signal.dismiss, DismissClick, dismiss, {"signal": signal})


def bind_drafts(panel: ChatPanel, binder: EventBinder) -> None:
    """Let the browser keep what is typed and attached, and bring it back."""
    kind, handlers = panel.handlers.tab.kind, panel.handlers
    shown = {name: panel.controls[name] for name in ("composer", "signal")}
    box, signal = shown.values()
    lent = binder.bind_data(signal.draft, Draft, handlers.draft, shown)
    # Gradio's own change is at once, but none where the server changes the files alone.
    for event, call in (
        (box.change, "attached"),
        (signal.files, "attached"),
        (lent.success, "lent"),
    ):
        event(
            None,
            [box],
            None,
            js=f"(draft) => window.conversations.{call}?.('{kind}', draft?.files ?? [])",
            api_visibility="private",
        )
