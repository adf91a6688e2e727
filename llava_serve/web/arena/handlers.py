"""Handlers of the arena: a question to two models without names, and the vote on them."""

import asyncio
import random
import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from llava_serve.arena.matching import match
from llava_serve.arena.tally import TAGS, WINNERS, Winner
from llava_serve.errors import (
    InvalidField,
    QuestionEmpty,
    ServeError,
    StillAnswering,
    TooFewModels,
)
from llava_serve.http import serving
from llava_serve.storage.battles import Battles, BattleVote
from llava_serve.web import composer
from llava_serve.web.arena import drawing
from llava_serve.web.arena.battle import Battle, battle_of
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState
from llava_serve.web.event_binder import View
from llava_serve.web.examples import ExampleQuestion
from llava_serve.web.handlers import Handlers, Tab
from llava_serve.web.parameters import AT_FIRST
from llava_serve.web.render import plain_text
from llava_serve.web.sessions import Place
from llava_serve.web.transcript import Transcript, on_drawing_thread
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import translate

ARENA_TAB = Tab("arena", models=0, most_models=1)
_SEEDS = 2**31


class ArenaHandlers(Handlers):
    """What the controls of the arena do: parameters and models are the server's choice."""

    def __init__(self, services: Services, examples: Sequence[ExampleQuestion] = ()) -> None:
        super().__init__(services, ARENA_TAB, examples)
        self._store = services.store
        self._battles = Battles(services.store)
        self._chance = random.SystemRandom()

    def view(
        self, conversation: ChatState, typed: dict[str, Any] | None = None, told: str = ""
    ) -> View:
        """Render the controls from the conversation."""
        busy, votable = conversation.is_busy, _can_vote(conversation)
        over = _is_over(conversation)
        votes = {winner: gr.update(interactive=votable) for winner in WINNERS}
        placeholder = translate("arena.ask_again" if over else "arena.placeholder")
        return votes | {
            "composer": {**(typed or composer.offering(stop=busy)), "placeholder": placeholder},
            "signal": self.signal(conversation, told),
            "tag": gr.update(interactive=not over),
            "clear": gr.update(
                interactive=not busy and bool(conversation.exchanges or conversation.notice)
            ),
        }

    def refresh(self, place: Place) -> View:
        """Say how many models take part; never which."""
        models, error = self._models_served(), self._link.error
        if error is not None or len(models) < 2:
            reason = error_text(error or TooFewModels(len(models))).told
            status = f'<p class="status bad">{plain_text(reason)}</p>'
        else:
            status = f'<p class="status good">{translate("arena.ready", count=len(models))}</p>'
        if place.menu_shown == status:
            return {"status": gr.skip()}
        place.menu_shown = status
        return {"status": status}

    async def draw(self, conversation: ChatState, before: Transcript | None) -> Transcript:
        """Draw the battle; given what was drawn before, only what is open of it."""
        snapshot = replace(
            conversation, exchanges=[exchange.snapshot() for exchange in conversation.exchanges]
        )
        draw = partial(drawing.transcript, snapshot, before, self._examples)
        return await on_drawing_thread(draw)

    async def submit(self, place: Place, message: dict[str, Any], *values: Any) -> View:
        """Ask both models of the battle; the first question draws them.

        Where the battle is over the question is the first of another one.
        """
        conversation, tag = place.conversation, _tag(*values)
        if (reason := _why_not(conversation, message)) is not None:
            conversation.refuse(reason)
            return self.view(conversation)
        if _is_over(conversation):
            place.show(conversation.cleared())
            conversation = place.conversation
        if conversation.battle is None:
            with conversation.reserved():
                try:
                    conversation.battle = await self._begun(conversation, tag)
                except ServeError as exc:
                    serving.log_error(exc)
                    conversation.notice = exc
                    return self.view(conversation)
        parameters = conversation.parameters
        if not conversation.exchanges:
            parameters = replace(AT_FIRST, seed=str(secrets.randbelow(_SEEDS)))
        models = conversation.battle.models
        asked = await self.service.accept(conversation, message, models, parameters)
        if not asked and not conversation.exchanges:
            await self._withdraw(conversation, conversation.battle)
        return self.view(conversation, composer.emptied() if asked else None)

    async def _begun(self, conversation: ChatState, tag: str | None) -> Battle:
        served = self._models_served()
        if len(served) < 2:
            raise self._link.error or TooFewModels(len(served))
        met = await asyncio.to_thread(self._battles.met)
        models = match(served, met, self._chance)
        kept = (conversation.id, models, tag, conversation.identity)
        return Battle(await asyncio.to_thread(self._battles.begin, *kept), models)

    async def _withdraw(self, conversation: ChatState, battle: Battle) -> None:
        """Remove the battle of a first question that was refused, for which nobody was asked."""
        with conversation.reserved():
            try:
                await asyncio.to_thread(self._battles.withdraw, battle.id)
                conversation.battle = None
            except ServeError as exc:  # the next question is asked in it
                serving.log_error(exc)

    def _models_served(self) -> list[str]:
        """Return who can take part: pictures must be seen."""
        return [card.id for card in self._link.cards if card.can_see]

    async def elect(self, winner: Winner, place: Place, tag: str | None) -> View:
        """Take the vote on a battle, once; the names are known from here on."""
        conversation = place.conversation
        battle, tag = conversation.battle, _tag(tag)
        if battle is None or not _can_vote(conversation):
            return self.view(conversation)
        vote = BattleVote(winner=winner, lengths=_lengths(conversation))
        with conversation.reserved():
            try:
                if await asyncio.to_thread(self._battles.vote, battle.id, vote, tag):
                    battle.winner = winner
                else:  # another process has taken one
                    kept = await asyncio.to_thread(battle_of, self._store, conversation.id)
                    battle.winner = kept.winner if kept is not None else None
            except ServeError as exc:
                serving.log_error(exc)
                conversation.notice = exc
        return self.view(conversation)


def _tag(tag: str | None) -> str | None:
    if tag and tag not in TAGS:
        raise InvalidField("tag", "is that of no task")
    return tag or None


def _why_not(conversation: ChatState, message: dict[str, Any]) -> ServeError | None:
    """Return why a question cannot be asked."""
    if conversation.is_busy:
        return StillAnswering()
    return QuestionEmpty() if composer.is_empty(message) else None


def _is_over(conversation: ChatState) -> bool:
    """Tell whether a battle has its vote, or can have none: one of its answers is not whole."""
    if conversation.battle is None or conversation.is_busy:
        return False
    return conversation.battle.winner is not None or not drawing.is_whole(conversation.exchanges)


def _can_vote(conversation: ChatState) -> bool:
    battle = conversation.battle
    is_open = battle is not None and battle.winner is None and not conversation.is_busy
    return is_open and bool(conversation.exchanges) and drawing.is_whole(conversation.exchanges)


def _lengths(conversation: ChatState) -> tuple[int, int]:
    """Return how many characters each side has said."""
    sides = zip(*(exchange.replies for exchange in conversation.exchanges), strict=True)
    length_a, length_b = (sum(len(reply.text) for reply in side) for side in sides)
    return length_a, length_b
