"""Buttons of an answer that open what is known of it."""

from llava_serve.web.reply import StreamedReply
from llava_serve.web.theme import icon

SAW = "What the model saw"


def buttons(reply: StreamedReply, place: str) -> str:
    """Render those of an answer that has ended; `place` is its EXCHANGE.SLOT.

    Without a place there are none.
    """
    if reply.is_open or not reply.model or not place:
        return ""
    return (
        f'<button type="button" class="vote saw" data-inspect="{place}" aria-haspopup="dialog" '
        f'aria-label="{SAW}" title="{SAW}">{icon("eye")}</button>'
    )
