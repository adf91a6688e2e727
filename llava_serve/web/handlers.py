"""Handlers of a chat panel for one model or several: events in, updates of its controls out."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gradio as gr
from pydantic import BaseModel, Field, NonNegativeInt

from llava_serve.errors import AskedModelGone, InvalidField, MediaUnreadable
from llava_serve.web import composer, menu, render, uploads
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.chat_service import ChatService, Services
from llava_serve.web.chat_state import ChatState, Exchange, Kind
from llava_serve.web.compare.strip import beneath
from llava_serve.web.event_binder import View
from llava_serve.web.examples import ExampleQuestion, invitation
from llava_serve.web.inspection import context_budget
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import Vote
from llava_serve.web.sessions import Place
from llava_serve.web.transcript import Transcript, drawn, on_drawing_thread
from llava_serve.web.translations.language import translate
from llava_serve.web.uploads import path_of

# A handler that waits for nothing is a coroutine all the same: Gradio runs plain functions on
# threads of its own, and a conversation belongs to the event loop.


@dataclass(frozen=True)
class Tab:
    """What differs between the tabs; `models` is how many a new conversation begins with."""

    kind: Kind
    models: int
    most_models: int

    @property
    def is_comparison(self) -> bool:
        return self.most_models > 1


CHAT_TAB = Tab("chat", models=1, most_models=1)
COMPARE_TAB = Tab("compare", models=2, most_models=len(render.LETTERS))


class Draft(BaseModel):
    """What was in the box for questions when the page was left, with the names of its files."""

    text: str
    files: list[str]


class DismissClick(BaseModel):
    """Which notice has been read, by the code of its error; another may have come since."""

    code: str = Field(max_length=64)


class ExampleClick(BaseModel):
    """Which of the examples was clicked, counted from 0."""

    index: NonNegativeInt


class VoteClick(BaseModel):
    """A vote on a reply, which is named as `render.votes` names it."""

    index: str = Field(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}$")
    kind: Vote


class Handlers:
    """What the controls of one tab do; each returns updates of controls by their names."""

    def __init__(
        self, services: Services, tab: Tab, examples: Sequence[ExampleQuestion] = ()
    ) -> None:
        self.tab = tab
        self.service = ChatService(services)
        self._link = services.link
        self._examples = examples
        self._beneath = partial(beneath, prices=services.prices) if tab.is_comparison else None

    def view(
        self, conversation: ChatState, typed: dict[str, Any] | None = None, told: str = ""
    ) -> View:
        """Render the controls from the conversation, which alone knows how things stand.

        The transcript is not among them: its browser asks for it, at each new `signal`.
        """
        last, busy = conversation.last, conversation.is_busy
        idle = last is not None and bool(last.replies) and not busy
        cut = last is not None and idle and last.replies[0].can_continue
        votable = _votable(last) if last is not None and idle else []
        columns = max(2, len(last.replies) if last else 0)
        view = {
            "composer": typed or composer.offering(stop=busy),
            "signal": self.signal(conversation, told),
            "budget": context_budget.shown(conversation, self._link),
            "models": gr.update(interactive=not conversation.exchanges),
            "again": gr.update(
                interactive=idle,
                value=translate("chat.retry" if last and last.failed else "chat.regenerate"),
            ),
            "more": gr.update(visible=cut, interactive=cut),
            "clear": gr.update(interactive=idle or (not busy and conversation.notice is not None)),
            "undo": gr.update(visible=conversation.can_undo, interactive=conversation.can_undo),
            "tie": gr.update(interactive=bool(votable)),
            "both_bad": gr.update(interactive=bool(votable)),
        }
        for slot, letter in enumerate(render.LETTERS):
            view[letter] = gr.update(
                visible=slot < columns,
                interactive=slot in votable,
                value=translate("compare.is_better", letter=letter),
            )
        return view

    @staticmethod
    def signal(conversation: ChatState, told: str = "") -> str:
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

    async def draw(self, conversation: ChatState, before: Transcript | None) -> Transcript:
        """Draw the transcript; given what was drawn before, only what is open of it."""
        snapshots = [exchange.snapshot() for exchange in conversation.exchanges]
        notice = conversation.notice
        draw = partial(render.exchange, beneath=self._beneath)
        invited = "" if snapshots else invitation(self.tab.kind, self._examples)
        return await on_drawing_thread(partial(drawn, snapshots, notice, before, draw, invited))

    def refresh(self, place: Place) -> View:
        """Bring the model menu up to date."""
        return menu.refresh(place, self._link, self.tab.models)

    async def choose(self, place: Place, models: Sequence[str] | str | None) -> View:
        """Take the models for what is asked from here on; a question checks their number."""
        conversation = place.conversation
        conversation.wanted = tuple([models] if isinstance(models, str) else models or ())
        conversation.has_chosen = self.tab.is_comparison or bool(models)
        conversation.forget_notice()
        return self.view(conversation)

    async def submit(self, place: Place, message: dict[str, Any], *values: Any) -> View:
        """Ask what is in the composer, with the values of the parameters."""
        conversation, models = place.conversation, self._models(place.conversation)
        fits = not self.tab.is_comparison or 2 <= len(models) <= self.tab.most_models
        if not fits and not conversation.is_busy:
            said = f"{len(models)} are chosen and served; a comparison takes two to six"
            conversation.refuse(InvalidField("models", said))
            return self.view(conversation)
        asked = self.service.accept(conversation, message, models, Parameters(*values))
        return self.view(conversation, composer.emptied() if await asked else None)

    def _models(self, conversation: ChatState) -> list[str]:
        return menu.answering(conversation, self._link)

    async def again(self, place: Place, *values: Any) -> View:
        """Ask the chosen model, or after a failure the one that was asked.

        What stands in for a model that is gone replies to new questions only.
        """
        conversation, models = place.conversation, self._models(place.conversation)
        last, stands_in = conversation.last, not {*models} <= {*conversation.wanted}
        if last is not None and last.failed and stands_in and not self.tab.is_comparison:
            asked = last.replies[0].model or models[0]
            if self._link.card(asked) is None and not conversation.is_busy:
                conversation.refuse(AskedModelGone(asked, models[0]))
                return self.view(conversation)
            models = [asked]
        await self.service.again(conversation, models, Parameters(*values))
        return self.view(conversation)

    async def more(self, place: Place, *values: Any) -> View:
        """Ask for the rest of a reply that was cut."""
        await self.service.resume(place.conversation, Parameters(*values))
        return self.view(place.conversation)

    async def settle(self, place: Place) -> View:
        """Show the controls as they are once the transcript is quiet."""
        return self.view(place.conversation)

    async def stop(self, place: Place) -> View:
        """End the replies that run."""
        place.conversation.stop()
        return self.view(place.conversation)

    async def clear(self, place: Place) -> View:
        """Begin another conversation here; this one stays as it is, wherever else it is shown."""
        if not place.conversation.is_busy:
            place.conversation.forget_notice()
            place.show(place.conversation.cleared())
        return self.view(place.conversation)

    async def undo(self, place: Place) -> View:
        """Bring back the conversation that Clear took away."""
        if not place.conversation.is_busy and place.conversation.before is not None:
            place.show(place.conversation.before)
        return self.view(place.conversation)

    async def dismiss(self, place: Place, click: DismissClick) -> View:
        """Take away the notice that has been read."""
        notice = place.conversation.notice
        if notice is not None and notice.code == click.code:
            place.conversation.forget_notice()
        return self.view(place.conversation)

    async def draft(self, place: Place, draft: Draft) -> View:
        """Put a draft back with those of its files that are still here; say how many are not."""
        paths, names = [], draft.files[:MOST_FILES]
        for name in names:
            with suppress(MediaUnreadable):
                paths.append(path_of(name))
        gone = len(names) - len(paths)
        told = translate("chat.draft_files_gone", count=gone) if gone else ""
        return {
            "composer": gr.update(value={"text": draft.text, "files": paths}),
            "signal": self.signal(place.conversation, told),
        }

    async def example(self, _: Place, click: ExampleClick) -> View:
        """Put the example that was clicked into the composer, ready to be sent."""
        if click.index >= len(self._examples):
            raise InvalidField("index", f"is that of no example: there are {len(self._examples)}")
        example = self._examples[click.index]
        paths = await uploads.lend(example.files, self.service.services.media)
        return {"composer": composer.holding(example.question, paths)}

    async def vote(self, place: Place, click: VoteClick) -> View:
        """Take a vote on any reply."""
        exchange, _, slot = click.index.partition(".")
        await self.service.judge(place.conversation, (int(exchange), int(slot)), click.kind)
        return self.view(place.conversation)

    async def prefer(
        self, kind: Literal["better", "tie", "both_bad"], slot: int | None, place: Place
    ) -> View:
        """Record a vote of a comparison: on the reply in `slot`, or on all together."""
        last = place.conversation.last
        votable = [] if last is None else _votable(last)
        if votable and (slot is None or slot in votable):
            await self.service.vote(place.conversation, kind, slot)
        return self.view(place.conversation)


def _votable(last: Exchange) -> list[int]:
    """Return the slots of the replies that may be called better; none where none can be judged.

    One reply alone has nothing to be better than.
    """
    slots = [slot for slot, reply in enumerate(last.replies) if reply.text]
    return slots if len(slots) >= 2 else []
