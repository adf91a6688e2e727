"""Exams: held-out questions of every kind, and the control without images."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from scripts.tiny.dialogue import Dialogue, DialogueExchange, random_dialogue
from scripts.tiny.out_of_domain import ask_out_of_domain
from scripts.tiny.questions import ASKERS
from scripts.tiny.recipe import SINGLE_MIX, Recipe

# The rows of the table; a refusal is right where there is nothing to see.
VISUAL_KINDS = (*ASKERS, "which picture", "change", "motion", "follow-up", "later picture")
REFUSAL_KINDS = ("beyond", "no picture")
_FORMS = {"which picture": "pair", "change": "change", "motion": "clip", "no picture": "nothing"}


def draw_exam(
    questions: int, seed: int, kinds: tuple[str, ...] = VISUAL_KINDS + REFUSAL_KINDS
) -> list[Dialogue]:
    """Draw equally many questions of each kind; the last one of a dialogue is the one asked."""
    each = -(-questions // len(kinds))
    rngs = {kind: Random(f"exam {seed} {kind}") for kind in kinds}
    return [_draw(rngs[kind], kind) for kind in kinds for _ in range(each)]


def kind_of(dialogue: Dialogue) -> str:
    """Return the row of the table that a dialogue counts for."""
    if dialogue.form in ("follow-up", "later picture"):
        return dialogue.form
    return dialogue.exchanges[-1].turn.kind


def _draw(rng: Random, kind: str) -> Dialogue:
    if kind == "beyond":
        return _out_of_domain(rng)
    if kind == "follow-up":
        recipe = Recipe(forms={"single": 1.0}, turns=3)
        return replace(_until(rng, recipe, _has_two), form=kind)
    if kind == "later picture":
        return replace(_until(rng, Recipe(forms={"later": 1.0}, turns=2), _has_two), form=kind)
    form = _FORMS.get(kind, "single")
    kinds = {kind: 1.0} if kind in ASKERS else SINGLE_MIX
    recipe = Recipe(forms={form: 1.0}, kinds=kinds, turns=7)

    def asks_it(dialogue: Dialogue) -> bool:
        scene = dialogue.shown[0].images[0].scene if dialogue.shown else None
        if kind == "number" and not (scene and scene.number):
            return rng.random() < 0.02  # seldom an image without one
        return any(exchange.turn.kind == kind for exchange in dialogue.exchanges)

    dialogue = _until(rng, recipe, asks_it)
    turn = next(e.turn for e in dialogue.exchanges if e.turn.kind == kind)
    first = replace(dialogue.exchanges[0], turn=turn)
    return replace(dialogue, exchanges=(first,))


def _until(rng: Random, recipe: Recipe, fits: Callable[[Dialogue], bool]) -> Dialogue:
    while not fits(dialogue := random_dialogue(rng, recipe)):
        pass
    return dialogue


def _has_two(dialogue: Dialogue) -> bool:
    return len(dialogue.exchanges) > 1 and dialogue.exchanges[-1].turn.kind != "beyond"


def _out_of_domain(rng: Random) -> Dialogue:
    """A question never trained on, half of the time beside an image."""
    turn = ask_out_of_domain(rng, held_out=True)
    if rng.random() < 0.5:
        return Dialogue((DialogueExchange(turn),), form="beyond")
    dialogue = random_dialogue(rng, Recipe(forms={"single": 1.0}, turns=1))
    return replace(dialogue, exchanges=(replace(dialogue.exchanges[0], turn=turn),))


def removed(dialogue: Dialogue) -> Dialogue:
    """Copy a dialogue without its images."""
    exchanges = (replace(exchange, shown=()) for exchange in dialogue.exchanges)
    return replace(dialogue, exchanges=tuple(exchanges))
