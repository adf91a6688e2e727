"""Questions about two or three images: which one has it, and what changed."""

from dataclasses import dataclass, replace
from random import Random

from scripts.tiny.questions import ASKERS, describe
from scripts.tiny.scenes import added, moved, random_color, random_scene, recolored
from scripts.tiny.turns import Turn, names_of, sentence, with_article, wording
from scripts.tiny.world import SHAPES, Scene, Size, Thing

DETAIL = "detail"  # questions that teach a kind and are no part of its exam
ORDINALS = ("first", "second", "third")
SMALLEST = 0.12  # several images get one tile each, so small things would drown
_DENIALS = {
    "added": "No, nothing was added.",
    "removed": "No, nothing was removed.",
    "moved": "No, nothing moved.",
    "any": "No, nothing changed.",
}
_WAYS = ("color", "shape", "moved", "added", "removed", "nothing")


@dataclass(frozen=True, slots=True)
class Change:
    """A scene before and after a change, and the sentence that names the change."""

    before: Scene
    after: Scene
    answer: str
    word: str


def random_change(rng: Random, size: Size) -> Change | None:
    """Draw two scenes with one difference, now and then with none; None where it does not fit."""
    scene = random_scene(rng, size, shapes=(1, 3), smallest=SMALLEST, numbers=0.0)
    if not scene.shapes:
        return None
    way = rng.choices(_WAYS, (2, 2, 2, 1, 1, 1))[0]
    if way == "nothing":
        return Change(scene, scene, "Nothing changed.", way)
    if way == "added":
        new = added(rng, scene, size)
        if new is None:
            return None
        after = replace(scene, things=(*scene.things, new))
        return Change(scene, after, f"{_named(new)} was added.", way)
    thing = rng.choice(scene.shapes)
    twins = sum((t.shape, t.color) == (thing.shape, thing.color) for t in scene.shapes)
    return _changed(rng, scene, thing, way, size) if twins == 1 else None


def _changed(rng: Random, scene: Scene, thing: Thing, way: str, size: Size) -> Change | None:
    if way == "removed":
        if len(scene.things) == 1:
            return None
        return Change(scene, _swap(scene, thing, None), f"{_named(thing)} was removed.", way)
    if way == "moved":
        there = moved(rng, scene, thing, size)
        if there is None:
            return None
        became = f"moved from the {thing.position} to the {there.position}"
    elif way == "color":
        there = recolored(rng, thing, scene.background)
        became = f"became {there.color}"
    else:
        there = replace(thing, shape=rng.choice([name for name in SHAPES if name != thing.shape]))
        became = f"became {with_article(there.shape)}"
    answer = f"The {thing.color} {thing.shape} {became}."
    return Change(scene, _swap(scene, thing, there), answer, way)


def _named(thing: Thing) -> str:
    return sentence(with_article(f"{thing.color} {thing.shape}"))


def _swap(scene: Scene, old: Thing, new: Thing | None) -> Scene:
    things = [new if thing is old else thing for thing in scene.things]
    return replace(scene, things=tuple(thing for thing in things if thing is not None))


def ask_change(rng: Random, change: Change) -> Turn:
    """Ask what changed between two images."""
    question = wording(rng, "change")
    return Turn("change", question, change.answer, change.word)


def ask_which(rng: Random, scenes: tuple[Scene, ...]) -> Turn | None:
    """Ask for the one image that holds something; None where no question has one answer."""
    wanted = rng.randrange(len(scenes))
    names = [name for thing in scenes[wanted].shapes for name in names_of(thing)]
    rng.shuffle(names)
    for name in names:
        if [name in _all_names(scene) for scene in scenes].count(True) == 1:
            return _which(rng, with_article(name), wanted)
    return None


def ask_about_one(rng: Random, scenes: tuple[Scene, ...]) -> Turn | None:
    """Ask a single-image question about one of several images."""
    i = rng.randrange(len(scenes))
    if rng.random() < 0.2:
        question = wording(rng, "which", "describe_one", ordinal=ORDINALS[i])
        return Turn(DETAIL, question, describe(scenes[i]), "shapes")
    kind = rng.choice(("color", "shape", "count", "position", "relation", "presence", "background"))
    turn = ASKERS[kind](rng, scenes[i])
    if turn is None or "picture" in turn.question:
        return None
    question, mark = turn.question[:-1], turn.question[-1]
    return replace(turn, kind=DETAIL, question=f"{question} in the {ORDINALS[i]} picture{mark}")


def ask_whether_changed(rng: Random, change: Change) -> Turn:
    """Ask whether one kind of change happened: yes with the change, or no."""
    asked = rng.choice(("added", "removed", "moved", "any"))
    question = wording(rng, "change", f"whether_{asked}")
    is_so = change.word == asked or (asked == "any" and change.word != "nothing")
    if not is_so:
        return Turn(DETAIL, question, _DENIALS[asked], "no")
    return Turn(DETAIL, question, f"Yes, {change.answer[0].lower()}{change.answer[1:]}", "yes")


def _which(rng: Random, name: str, wanted: int) -> Turn:
    question = wording(rng, "which", thing=name)
    return Turn("which picture", question, f"The {ORDINALS[wanted]} picture.", ORDINALS[wanted])


def _all_names(scene: Scene) -> set[str]:
    return {name for thing in scene.shapes for name in names_of(thing)}


def same_light(rng: Random, change: Change) -> Change:
    """Sometimes give the second image its own tint, as two photographs would differ."""
    if rng.random() < 0.9:
        return change
    after = replace(change.after, background_rgb=random_color(rng, change.after.background))
    return replace(change, after=after)
