"""Controls of branches as HTML: the pencil of a question, the arrows between versions, a banner."""

import html

from llava_serve.web.branches.versions import Of, position
from llava_serve.web.chat_state import Exchange
from llava_serve.web.theme import icon
from llava_serve.web.translations.language import translate

_GROUPS: dict[Of, str] = {"question": "branches.of_question", "answer": "branches.of_answer"}
_SHORT = 60  # characters of a question


def pencil(turn: int) -> str:
    """Render what puts a question into the composer; `turn` is its place, counted from 0."""
    label = translate("branches.edit")
    return (
        f'<button type="button" class="tool" data-edit="{turn}" aria-label="{label}" '
        f'title="{label}">{icon("edit")}</button>'
    )


def arrows(exchange: Exchange, turn: int, of: Of) -> str:
    """Render the way to the other versions; nothing where there is no other."""
    shown = position(exchange, of)
    if shown.count < 2:
        return ""
    before = _arrow(turn, of, -1, translate("branches.before"), is_end=shown.number == 1)
    after = _arrow(turn, of, 1, translate("branches.after"), is_end=shown.number == shown.count)
    return (
        f'<span class="versions" role="group" aria-label="{translate(_GROUPS[of])}">{before}'
        f"<span>{shown.number} / {shown.count}</span>{after}</span>"
    )


def _arrow(turn: int, of: Of, step: int, label: str, *, is_end: bool) -> str:
    # Not `disabled`: the arrow that has led to the end keeps the focus.
    end = ' aria-disabled="true"' if is_end else ""
    return (
        f'<button type="button" class="tool" data-step="{step}" data-turn="{turn}" '
        f'data-of="{of}" aria-label="{label}" title="{label}"{end}>'
        f"{icon('before' if step < 0 else 'after')}</button>"
    )


def banner(editing: Exchange | None) -> str:
    """Say which question is in the composer to be edited, if one is."""
    if editing is None:
        return ""
    text = " ".join(editing.text.split()) or translate("branches.unnamed")
    short = text if len(text) <= _SHORT else text[: _SHORT - 2] + " …"
    said = html.escape(translate("branches.editing", question=short))
    cancel = f'<button type="button" class="cancel-edit">{translate("branches.cancel")}</button>'
    return f'<div class="editing" role="status"><p>{said}</p>{cancel}</div>'
