"""Handlers of branches: a question that is edited, and the arrows between versions."""

from typing import Any, Literal

from pydantic import BaseModel, NonNegativeInt

from llava_serve.errors import InvalidField, StillAnswering
from llava_serve.web import composer, uploads
from llava_serve.web.branches.controls import banner
from llava_serve.web.branches.versions import Of, neighbour
from llava_serve.web.chat_state import Exchange
from llava_serve.web.event_binder import View
from llava_serve.web.handlers import Handlers
from llava_serve.web.sessions import Place
from llava_serve.web.translations.language import translate


class EditClick(BaseModel):
    """Which question is to be edited, counted from 0."""

    turn: NonNegativeInt


class VersionClick(BaseModel):
    """An arrow, which is named as `controls.arrows` names it."""

    turn: NonNegativeInt
    of: Of
    step: Literal[-1, 1]


class CancelClick(BaseModel):
    """Nothing more is to be known."""


class BranchHandlers:
    """What the controls of branches in one tab do; beside those of its `Handlers`."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._service = handlers.service

    async def edit(self, place: Place, click: EditClick, message: dict[str, Any]) -> View:
        """Put a question into the composer, unless something else is being typed there."""
        conversation = place.conversation
        chosen = self._exchange(place, click.turn)
        if conversation.is_busy:
            conversation.refuse(StillAnswering())
            return self._view(place)
        is_old = place.editing is not None and message["text"] == place.editing.text
        if not composer.is_empty(message) and not is_old:
            conversation.touch()  # so that the browser is told again at a second click
            return self._view(place, told=translate("branches.draft_would_go"))
        paths = await uploads.lend(chosen.files, self._service.services.media)
        conversation.notice, place.editing = None, chosen
        conversation.touch()
        return self._view(place, composer.holding(chosen.text, paths))

    async def cancel(self, place: Place, _: CancelClick) -> View:
        """Leave the question as it is."""
        place.editing = None
        return self._view(place, composer.cleared())

    async def submit(self, place: Place, message: dict[str, Any], *values: Any) -> View:
        """Ask what is in the composer: a version of the question that is edited, or a new one."""
        if (old := place.editing) is not None:
            if old not in place.conversation.exchanges:
                place.editing = None
                place.conversation.touch()
                return self._view(place, told=translate("branches.not_shown"))
            message = {**message, "instead_of": old}
        last = place.conversation.last
        view = await self._handlers.submit(place, message, *values)
        if place.conversation.last is not last:  # it was not refused
            place.editing = None
        return self._with_banner(place, view)

    async def clear(self, place: Place) -> View:
        """Begin another conversation, with nothing to edit."""
        return self._with_banner(place, await self._handlers.clear(place))

    async def undo(self, place: Place) -> View:
        """Bring back the conversation that Clear took away."""
        return self._with_banner(place, await self._handlers.undo(place))

    async def go(self, place: Place, click: VersionClick) -> View:
        """Show the version before or after, with what followed it."""
        shown = self._exchange(place, click.turn)
        version = neighbour(shown, click.of, click.step)
        if version is not None:
            await self._service.show(place.conversation, click.turn, version)
        return self._view(place)

    @staticmethod
    def _exchange(place: Place, turn: int) -> Exchange:
        exchanges = place.conversation.exchanges
        if turn >= len(exchanges):
            raise InvalidField("turn", f"is that of no question: there are {len(exchanges)}")
        return exchanges[turn]

    def _view(self, place: Place, typed: dict[str, Any] | None = None, told: str = "") -> View:
        view = self._handlers.view(place.conversation, typed, told)
        return self._with_banner(place, view)

    @staticmethod
    def _with_banner(place: Place, view: View) -> View:
        return {**view, "editing": banner(place.editing)}
