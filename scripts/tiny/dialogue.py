"""Dialogues about drawn images: the media, the questions and the right answers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from PIL import Image

from scripts.tiny.comparison import (
    SMALLEST,
    ask_about_one,
    ask_change,
    ask_whether_changed,
    ask_which,
    random_change,
    same_light,
)
from scripts.tiny.motion import ask_about_video, ask_motion, ask_motion_detail, random_motion
from scripts.tiny.out_of_domain import ask_out_of_domain, ask_what_is_this, strange_image
from scripts.tiny.questions import ASKERS
from scripts.tiny.recipe import Recipe
from scripts.tiny.scenes import random_scene
from scripts.tiny.shades import shaded
from scripts.tiny.turns import NO_PICTURE, Turn, varied, wording
from scripts.tiny.world import Scene, Size, draw

_YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class DrawnImage:
    """A drawn image and its scene, None where it shows nothing of the world."""

    image: Image.Image
    scene: Scene | None


@dataclass(frozen=True, slots=True)
class Medium:
    """One medium of a message: an image, or the frames of a video."""

    images: tuple[DrawnImage, ...]
    is_video: bool = False


@dataclass(frozen=True, slots=True)
class DialogueExchange:
    """A user message, media and text in the client's order, and the right answer."""

    turn: Turn
    shown: tuple[Medium, ...] = ()
    is_text_first: bool = False


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Exchanges with an optional system message; `form` says how it was drawn."""

    exchanges: tuple[DialogueExchange, ...]
    system: str = ""
    form: str = "single"

    @property
    def shown(self) -> list[Medium]:
        """All media, in order."""
        return [shown for exchange in self.exchanges for shown in exchange.shown]


def random_dialogue(rng: Random, recipe: Recipe) -> Dialogue:
    """Draw a dialogue; the order of its questions is random."""
    form = rng.choices(list(recipe.forms), list(recipe.forms.values()))[0]
    system = wording(rng, "dialogue", "systems") if rng.random() < 0.1 else ""
    while not (exchanges := _FORMS[form](rng, recipe)):
        pass
    if rng.random() < recipe.terse:
        exchanges = tuple(_in_one_word(exchange, _wish(rng, exchange)) for exchange in exchanges)
    elif recipe.one_word:
        exchanges = tuple(_in_one_word(exchange, "") for exchange in exchanges)
    return Dialogue(exchanges, system, form)


def _wish(rng: Random, exchange: DialogueExchange) -> str:
    return wording(rng, "dialogue", "yes_or_no" if exchange.turn.word in _YES_NO else "terse")


def _in_one_word(exchange: DialogueExchange, wish: str) -> DialogueExchange:
    turn = exchange.turn
    terse = replace(turn, question=turn.question + wish, answer=turn.word)
    return replace(exchange, turn=terse)


def _single(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    size = recipe.size(rng, 1.5 if recipe.base_only else 3.0)
    scene = random_scene(rng, size)
    return _talk(rng, _shown(rng, recipe, size, scene), ask_about(rng, scene, recipe))


def _number(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    """A printed number and little else: digits are what the tower learns last."""
    size = recipe.size(rng, 1.5 if recipe.base_only else 3.0)
    scene = random_scene(rng, size, numbers=1.0)
    if scene.number is None:
        return ()
    asked = [ASKERS[kind](rng, scene) for kind in ("number", "description", "position")]
    return _talk(rng, _shown(rng, recipe, size, scene), asked[: recipe.turns])


def ask_about(rng: Random, scene: Scene, recipe: Recipe) -> list[Turn]:
    """Draw different questions about one scene."""
    kinds = dict(recipe.kinds)
    if scene.number:
        kinds["number"] = 10 * kinds.get("number", 0.0)
    turns: dict[str, Turn] = {}
    for _ in range(3 * recipe.turns):
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        turn = ask_out_of_domain(rng) if kind == "beyond" else ASKERS[kind](rng, scene)
        if turn and len(turns) < recipe.turns:
            turns.setdefault(turn.question, turn)
    return list(turns.values())


def _pair(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    scenes: list[Scene] = []
    shown: list[Medium] = []
    for _ in range(3 if rng.random() < 0.35 else 2):
        size = recipe.size(rng, 1.5)
        scenes.append(random_scene(rng, size, shapes=(0, 3), smallest=SMALLEST))
        shown += _shown(rng, recipe, size, scenes[-1])
    asked = [ask_which(rng, tuple(scenes)) for _ in range(4)]
    asked += [ask_about_one(rng, tuple(scenes)) for _ in range(4)]
    rng.shuffle(asked)
    return _talk(rng, tuple(shown), asked[: recipe.turns])


def _change(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    size = recipe.size(rng, 1.5)
    change = random_change(rng, size)
    if change is None:
        return ()
    change = same_light(rng, change)
    scenes = (change.before, change.after)
    shown = _shown(rng, recipe, size, *scenes)
    turns = [ask_change(rng, change), ask_which(rng, scenes), ask_which(rng, scenes)]
    turns += [ask_whether_changed(rng, change) for _ in range(2)]
    turns += [ask_about_one(rng, scenes) for _ in range(2)]
    return _talk(rng, shown, turns[: recipe.turns])


def _clip(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    size = recipe.size(rng, 1.8)
    motion = random_motion(rng, size, rng.choice((3, 4, 4, 5, 6, 6, 8, 8, 10)))
    if motion is None:
        return ()
    frames = _drawn(rng, recipe, size, *motion.frames)
    turns = [ask_motion(rng, motion), ask_about_video(rng, motion)]
    turns += [ask_motion_detail(rng, motion) for _ in range(4)]
    return _talk(rng, (Medium(frames, is_video=True),), turns[: recipe.turns])


def _later(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    """A second image joins in a later message; questions are about the latest one."""
    exchanges: list[DialogueExchange] = []
    for _ in range(2):
        size = recipe.size(rng, 1.5)
        scene = random_scene(rng, size, shapes=(0, 3), smallest=SMALLEST)
        turns = ask_about(rng, scene, recipe)[:2]
        exchanges += _talk(rng, _shown(rng, recipe, size, scene), turns)
    return tuple(exchanges)


def _strange(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    image = strange_image(rng, recipe.size(rng, 2.0))
    turns = [ask_what_is_this(rng), ask_out_of_domain(rng)]
    return _talk(rng, (Medium((DrawnImage(image, None),)),), turns[: recipe.turns])


def _nothing(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    scene = random_scene(rng, (96, 96))
    turns = ask_about(rng, scene, recipe)
    blind = [t if t.kind == "beyond" else blinded(t) for t in turns]
    return _talk(rng, (), blind[:3])


def blinded(turn: Turn) -> Turn:
    """Copy a question for a dialogue without images."""
    return Turn("no picture", turn.question, NO_PICTURE, NO_PICTURE)


def _out_of_domain(rng: Random, recipe: Recipe) -> tuple[DialogueExchange, ...]:
    return _talk(rng, (), [ask_out_of_domain(rng) for _ in range(min(3, recipe.turns))])


def _shown(rng: Random, recipe: Recipe, size: Size, *scenes: Scene) -> tuple[Medium, ...]:
    return tuple(Medium((drawn,)) for drawn in _drawn(rng, recipe, size, *scenes))


def _drawn(rng: Random, recipe: Recipe, size: Size, *scenes: Scene) -> tuple[DrawnImage, ...]:
    if recipe.shades and rng.random() < recipe.shades:
        scenes = shaded(rng, scenes)
    return tuple(DrawnImage(draw(scene, size), scene) for scene in scenes)


def _talk(
    rng: Random, shown: tuple[Medium, ...], asked: list[Turn] | list[Turn | None]
) -> tuple[DialogueExchange, ...]:
    """Random order; half of the time the first of `asked` stays first, where no answer helps it."""
    turns = [turn for turn in asked if turn is not None]
    kept = rng.randrange(2)
    rest = turns[kept:]
    rng.shuffle(rest)
    exchanges = []
    for i, turn in enumerate(turns[:kept] + rest):
        said = Turn(turn.kind, varied(rng, turn.question), turn.answer, turn.word)
        first = i == 0
        exchanges.append(
            DialogueExchange(said, shown if first else (), first and rng.random() < 0.15)
        )
    return tuple(exchanges)


_FORMS: dict[str, Callable[[Random, Recipe], tuple[DialogueExchange, ...]]] = {
    "single": _single,
    "number": _number,
    "pair": _pair,
    "change": _change,
    "clip": _clip,
    "later": _later,
    "strange": _strange,
    "nothing": _nothing,
    "beyond": _out_of_domain,
}
