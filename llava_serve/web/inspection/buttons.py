"""Buttons of an answer that open what is known of it."""

from llava_serve.web.reply import StreamedReply
from llava_serve.web.theme import icon
from llava_serve.web.translations.language import translate


def buttons(reply: StreamedReply, place: str) -> str:
    """Render those of an answer that has ended; `place` is its EXCHANGE.SLOT.

    Without a place there are none.
    """
    if reply.is_open or not reply.model or not place:
        return ""
    tokens = _button(
        translate("inspect.probabilities"), "tokens", f'data-tokens="{place}" aria-pressed="false"'
    )
    saw = _button(translate("inspect.saw"), "eye", f'data-inspect="{place}" aria-haspopup="dialog"')
    return (tokens if reply.tokens else "") + saw


def _button(label: str, name: str, attributes: str) -> str:
    return (
        f'<button type="button" class="vote" {attributes} aria-label="{label}" '
        f'title="{label}">{icon(name)}</button>'
    )
