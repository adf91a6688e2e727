"""Draws an exam: questions of every kind about pictures from a seed that training never uses."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from PIL import Image

from scripts.tiny.beyond import ask_beyond
from scripts.tiny.conversation import (
    SINGLE_MIX,
    Conversation,
    Exchange,
    Picture,
    Recipe,
    Shown,
    random_conversation,
)
from scripts.tiny.questions import ASKERS

# The kinds of the table; manners are what it says where there is nothing to see.
SIGHTED = (*ASKERS, "which picture", "change", "motion", "follow-up", "later picture")
MANNERS = ("beyond", "no picture")
_FORMS = {"which picture": "pair", "change": "change", "motion": "clip", "no picture": "nothing"}
_GRAY = (127, 127, 127)


def draw_exam(
    questions: int, seed: int, kinds: tuple[str, ...] = SIGHTED + MANNERS
) -> list[Conversation]:
    """Equally many questions of each kind; the last question of a conversation is the one asked."""
    each = -(-questions // len(kinds))
    rngs = {kind: Random(f"exam {seed} {kind}") for kind in kinds}
    return [_draw(rngs[kind], kind) for kind in kinds for _ in range(each)]


def kind_of(conversation: Conversation) -> str:
    if conversation.form in ("follow-up", "later picture"):
        return conversation.form
    return conversation.exchanges[-1].turn.kind


def _draw(rng: Random, kind: str) -> Conversation:
    if kind == "beyond":
        return _beyond(rng)
    if kind == "follow-up":
        recipe = Recipe(forms={"single": 1.0}, turns=3)
        return replace(_until(rng, recipe, _has_two), form=kind)
    if kind == "later picture":
        return replace(_until(rng, Recipe(forms={"later": 1.0}, turns=2), _has_two), form=kind)
    form = _FORMS.get(kind, "single")
    kinds = {kind: 1.0} if kind in ASKERS else SINGLE_MIX
    recipe = Recipe(forms={form: 1.0}, kinds=kinds, turns=7)

    def asks_it(conversation: Conversation) -> bool:
        scene = conversation.shown[0].pictures[0].scene if conversation.shown else None
        if kind == "number" and not (scene and scene.number):
            return rng.random() < 0.02  # seldom a picture without one
        return any(exchange.turn.kind == kind for exchange in conversation.exchanges)

    conversation = _until(rng, recipe, asks_it)
    turn = next(e.turn for e in conversation.exchanges if e.turn.kind == kind)
    first = replace(conversation.exchanges[0], turn=turn)
    return replace(conversation, exchanges=(first,))


def _until(rng: Random, recipe: Recipe, fits: Callable[[Conversation], bool]) -> Conversation:
    while not fits(conversation := random_conversation(rng, recipe)):
        pass
    return conversation


def _has_two(conversation: Conversation) -> bool:
    return len(conversation.exchanges) > 1 and conversation.exchanges[-1].turn.kind != "beyond"


def _beyond(rng: Random) -> Conversation:
    """A question never trained on, half of the time beside a picture."""
    turn = ask_beyond(rng, held_out=True)
    if rng.random() < 0.5:
        return Conversation((Exchange(turn),), form="beyond")
    conversation = random_conversation(rng, Recipe(forms={"single": 1.0}, turns=1))
    return replace(conversation, exchanges=(replace(conversation.exchanges[0], turn=turn),))


def blanked(conversation: Conversation) -> Conversation:
    """The same conversation with plain gray in place of every picture."""

    def blank(shown: Shown) -> Shown:
        pictures = (Picture(Image.new("RGB", p.image.size, _GRAY), None) for p in shown.pictures)
        return replace(shown, pictures=tuple(pictures))

    exchanges = (
        replace(exchange, shown=tuple(blank(shown) for shown in exchange.shown))
        for exchange in conversation.exchanges
    )
    return replace(conversation, exchanges=tuple(exchanges))


def removed(conversation: Conversation) -> Conversation:
    """The same conversation with no picture at all."""
    exchanges = (replace(exchange, shown=()) for exchange in conversation.exchanges)
    return replace(conversation, exchanges=tuple(exchanges))
