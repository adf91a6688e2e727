"""What the controls of both tabs do: events in, a view of the conversation out."""

import asyncio
import json
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from llava_serve.errors import MediaUnreadable, ServeError
from llava_serve.web import menu, render
from llava_serve.web.answer import Vote
from llava_serve.web.asking import Asking, Services
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.conversation import Conversation, Exchange, Kind
from llava_serve.web.sessions import Place
from llava_serve.web.transcript import Transcript
from llava_serve.web.upload_names import path_of

# A handler that waits for nothing is a coroutine all the same: Gradio runs plain functions on
# threads of its own, and a conversation belongs to the event loop.


class Draft(BaseModel):
    """What was in the box for questions when the page was left, with the names of its files."""

    text: str
    files: list[str]


class VoteClick(BaseModel):
    """A vote on an answer, which is named as `votes.buttons` names it."""

    index: str = Field(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}$")
    kind: Vote


class Handlers(ABC):
    """`models` is how many models a new tab begins with."""

    def __init__(self, services: Services, kind: Kind, models: int) -> None:
        self.kind = kind
        self._asking = Asking(services, kind)
        self._link = services.link
        self._models_at_first = models

    @property
    @abstractmethod
    def invitation(self) -> str:
        """What an empty conversation shows, as HTML."""

    @abstractmethod
    async def view(
        self, conversation: Conversation, typed: dict[str, Any] | None = None
    ) -> list[Any]:
        """Render the controls from the conversation, which alone knows how things stand.

        The transcript is not among them: its browser asks for it, at each new `signal`.
        """

    @staticmethod
    def signal(conversation: Conversation, told: str = "") -> str:
        """Return what tells a browser that there is more to show, and how to address it.

        An `address` of null leaves the one of the page as it is. `told` is said above the box for
        questions, to this browser only.
        """
        address = conversation.id if conversation.exchanges else ""
        return json.dumps(
            {
                "id": conversation.id,
                "version": conversation.version,
                "address": None if conversation.keeps_address and not address else address,
                "told": told,
            }
        )

    async def draw(self, conversation: Conversation, before: Transcript | None) -> Transcript:
        """Draw the transcript; given what was drawn before, only what is open of it."""
        snapshots = [exchange.snapshot() for exchange in conversation.exchanges]
        notice = conversation.notice
        return await asyncio.to_thread(self._drawn, snapshots, notice, before)

    def _drawn(
        self, exchanges: list[Exchange], notice: ServeError | None, before: Transcript | None
    ) -> Transcript:
        if before is not None:
            count, settled = before.count, before.settled
        else:
            count = len(exchanges) - (1 if exchanges and exchanges[-1].is_open else 0)
            settled = [render.exchange(one, n) for n, one in enumerate(exchanges[:count])]
            settled = settled if exchanges else [self.invitation]
        live = [render.exchange(one, count + n) for n, one in enumerate(exchanges[count:])]
        card = "" if notice is None else render.error_card(notice)
        return Transcript(settled, count, "".join(live), card)

    def refresh(self, place: Place) -> menu.MenuView:
        # What is shown belongs to the browser tab; two of them can show one conversation.
        place.conversation.shown = place.shown
        view = menu.refresh(place.conversation, self._link, self._models_at_first)
        place.shown = place.conversation.shown
        return view

    async def settle(self, conversation: Conversation) -> list[Any]:
        return await self.view(conversation)

    async def stop(self, conversation: Conversation) -> list[Any]:
        conversation.stop()
        return await self.view(conversation)

    async def clear(self, place: Place) -> list[Any]:
        """Begin another conversation here; this one stays as it is, wherever else it is shown."""
        if not place.conversation.is_busy:
            place.show(place.conversation.cleared())
        return await self.view(place.conversation)

    async def undo(self, place: Place, message: dict[str, Any]) -> list[Any]:
        """Bring back what Clear, Edit, Regenerate or Continue took away last."""
        conversation = place.conversation
        if not conversation.is_busy and conversation.before is not None:
            place.show(conversation.before)
            return await self.view(place.conversation)
        edited = await self._asking.bring_back(conversation)
        if edited is not None and message["text"] == edited.text:
            return await self.view(conversation, gr.update(value={"text": "", "files": []}))
        return await self.view(conversation)

    async def draft(self, draft: Draft) -> Any:
        """Put a draft back with those of its files that are still here."""
        paths = []
        for name in draft.files[:MOST_FILES]:
            with suppress(MediaUnreadable):
                paths.append(path_of(name))
        return gr.update(value={"text": draft.text, "files": paths})

    async def vote(self, conversation: Conversation, click: VoteClick) -> list[Any]:
        """Take a vote on any answer."""
        exchange, _, slot = click.index.partition(".")
        await self._asking.judge(conversation, (int(exchange), int(slot)), click.kind)
        return await self.view(conversation)
