"""The model menus: what is served, what was chosen, and what of both the browser must be told."""

from typing import Any, NamedTuple

import gradio as gr

from llava_serve.web import render
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.conversation import Conversation


class MenuView(NamedTuple):
    models: Any
    status: Any


def chosen(conversation: Conversation, link: ControllerLink) -> str | None:
    """Return the chat's model, if it is served at this moment."""
    served = chosen_of(conversation, link)
    return served[0] if served else None


def chosen_of(conversation: Conversation, link: ControllerLink) -> list[str]:
    """Return those of the chosen models that are served at this moment."""
    return [name for name in conversation.wanted if link.card(name) is not None]


def refresh(conversation: Conversation, link: ControllerLink, count: int) -> MenuView:
    """Bring a menu up to date; a browser that has it already gets nothing.

    `count` is how many models the tab begins with: the first ones served, until the user chooses.
    A chosen model that goes away stays wanted: nobody is switched to another in silence.
    """
    names = [card.id for card in link.cards]
    if len(conversation.wanted) < count and not conversation.has_chosen:
        others = [name for name in names if name not in conversation.wanted]
        conversation.wanted += tuple(others[: count - len(conversation.wanted)])
    value = chosen_of(conversation, link)
    missing = [name for name in conversation.wanted if name not in value]
    status = render.models_status(link.cards, link.error, missing[0] if missing else None)
    if conversation.shown == (names, value, status):
        return MenuView(gr.skip(), gr.skip())
    conversation.shown = (names, value, status)
    shown = value if count > 1 else next(iter(value), None)
    return MenuView(gr.update(choices=names, value=shown), status)
