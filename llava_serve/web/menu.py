"""The model menus: what is served, what was chosen, and what of both the browser must be told."""

import gradio as gr

from llava_serve.web import render
from llava_serve.web.chat_state import ChatState
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.event_binder import View
from llava_serve.web.sessions import Place

_ENOUGH = 2  # a comparison needs no more


def chosen(conversation: ChatState, link: ControllerLink) -> list[str]:
    """Return the models that answer: those chosen that are served, and others in their place.

    An empty menu can ask nothing. So one model answers where one was chosen, two where several
    were, as far as there are any; the status says which stand in.
    """
    served = [name for name in conversation.wanted if link.card(name) is not None]
    others = [card.id for card in link.cards if card.id not in conversation.wanted]
    lacking = min(len(conversation.wanted), _ENOUGH) - len(served)
    return served + others[: max(0, lacking)]


def answering(conversation: ChatState, link: ControllerLink) -> list[str]:
    """Return the models that answer the next question: of a comparison those who began it."""
    if conversation.kind == "compare" and conversation.last is not None:
        return [reply.model for reply in conversation.last.replies]
    return chosen(conversation, link)


def refresh(place: Place, link: ControllerLink, count: int) -> View:
    """Bring a menu up to date; a browser that has it already gets nothing.

    `count` is how many models the tab begins with: the first ones served, until the user chooses.
    A chosen model that goes away stays wanted, and is chosen again when it comes back; what
    stands in for it is said: nobody is switched to another in silence.
    """
    conversation = place.conversation
    names = [card.id for card in link.cards]
    if len(conversation.wanted) < count and not conversation.has_chosen:
        others = [name for name in names if name not in conversation.wanted]
        conversation.wanted += tuple(others[: count - len(conversation.wanted)])
    value = chosen(conversation, link)
    missing = [name for name in conversation.wanted if name not in value]
    instead = [name for name in value if name not in conversation.wanted]
    status = render.models_status(link.cards, link.error, missing, instead)
    if place.menu_shown == (names, value, status):
        return {"models": gr.skip(), "status": gr.skip()}
    place.menu_shown = (names, value, status)
    shown = value if count > 1 else next(iter(value), None)
    return {"models": gr.update(choices=names, value=shown), "status": status}
