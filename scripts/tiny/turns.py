"""Question and answer pairs, their wordings, and the names of things in them."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from scripts.tiny.world import POSITIONS, SHAPES, Scene, Thing

REFUSAL = "I only know simple pictures of shapes and numbers."
NO_PICTURE = "I see no picture."
COUNTS = ("no", "one", "two", "three", "four", "five")
PLURALS = {shape: "crosses" if shape == "cross" else shape + "s" for shape in SHAPES}
CELLS = tuple(cell for row in POSITIONS for cell in row)
PHRASES: dict[str, dict[str, list[str]]] = tomllib.loads(
    Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with its only right answer."""

    kind: str
    question: str
    answer: str
    word: str  # the same answer in one word or number


Asker = Callable[[Random, Scene], Turn | None]


def wording(rng: Random, kind: str, way: str = "any", **words: str) -> str:
    """Draw one of the wordings in `PHRASES` and fill it in; a single one costs no random number."""
    options = PHRASES[kind][way]
    return (rng.choice(options) if len(options) > 1 else options[0]).format(**words)


def with_article(words: str) -> str:
    """Put "a" or "an" before words."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def sentence(words: str) -> str:
    """Capitalize the first letter."""
    return words[0].upper() + words[1:]


def names_of(thing: Thing) -> tuple[str, ...]:
    """List the names of a shape: its kind, its color, or both."""
    return thing.shape, f"{thing.color} {thing.shape}", f"{thing.color} shape"


def is_called(words: str, thing: Thing) -> bool:
    """Tell whether "the <words>" could mean this shape."""
    return words in (*names_of(thing), "shape")


def unique_names(scene: Scene, thing: Thing) -> list[str]:
    """List the names in this scene that fit this thing alone."""
    if thing.text:
        return ["number"]
    return [
        name
        for name in names_of(thing)
        if sum(is_called(name, other) for other in scene.shapes) == 1
    ]


def stands_alone(scene: Scene, thing: Thing) -> bool:
    """Tell whether nothing else lies in the same cell of the grid."""
    return sum(other.position == thing.position for other in scene.things) == 1


def choose_absent(rng: Random, names: tuple[str, ...], present: set[str]) -> str | None:
    """Draw one of `names` that is not `present`; None where all are."""
    rest = [name for name in names if name not in present]
    return rng.choice(rest) if rest else None


def varied(rng: Random, question: str) -> str:
    """Vary spelling, capitals and punctuation of a question."""
    if rng.random() < 0.35:
        question = question.replace("color", "colour")
    if rng.random() < 0.15:
        question = question.replace("picture", "image")
    if rng.random() < 0.12:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.1:
        question = question.rstrip("?.")
    elif rng.random() < 0.05:
        question = "Please tell me: " + question[0].lower() + question[1:]
    return question
