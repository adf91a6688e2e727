"""Votes: what they are called, and the buttons that give one on any answer."""

from llava_serve.web.answer import Answer, Vote
from llava_serve.web.icons import icon
from llava_serve.web.markdown import plain_text

LABELS: dict[Vote, str] = {"up": "Good answer", "down": "Bad answer", "flag": "Report the answer"}
_SAID = {"tie": "You called it a tie.", "both_bad": "You found none of them good."}


def said(kind: str, model: str | None) -> str:
    """Return what the page says of a vote of a comparison."""
    return _SAID.get(kind) or f"You found {model} better."


def buttons(answer: Answer, place: str) -> str:
    """Render the votes on an answer; `place` is EXCHANGE.SLOT, both counted from 0.

    A click on one is the event `vote` of the transcript, which names the place and the kind; on
    the vote that was given it takes that back.
    """
    if answer.is_open or not answer.text:
        return ""
    shown = "".join(_button(kind, label, answer, place) for kind, label in LABELS.items())
    return f'<span class="votes" role="group" aria-label="Judge this answer">{shown}</span>'


def _button(kind: Vote, label: str, answer: Answer, place: str) -> str:
    pressed = "true" if answer.vote == kind else "false"
    return (
        f'<button type="button" class="vote" data-vote="{kind}" '
        f'data-answer="{plain_text(place)}" aria-pressed="{pressed}" aria-label="{label}" '
        f'title="{label}">{icon(kind)}</button>'
    )
