"""Questions about a single image, by kind: color, shape, count, position, relation and more."""

from collections import Counter
from random import Random

from scripts.tiny.turns import (
    CELLS,
    COUNTS,
    PHRASES,
    PLURALS,
    Asker,
    Turn,
    choose_absent,
    is_called,
    sentence,
    stands_alone,
    unique_names,
    with_article,
    wording,
)
from scripts.tiny.world import COLORS, SHAPES, Scene, Thing


def ask_color(rng: Random, scene: Scene) -> Turn | None:
    """Ask for the color of a shape or number, sometimes of an absent shape."""
    present = Counter(thing.shape for thing in scene.shapes)
    if rng.random() < 0.08:
        shape = choose_absent(rng, SHAPES, set(present))
        if shape is None:
            return None
        return Turn(
            "color", wording(rng, "color", "of_shape", shape=shape), f"There is no {shape}.", "none"
        )
    if scene.number and (rng.random() < 0.4 or not scene.shapes):
        question = wording(rng, "color", "of_number")
        return Turn("color", question, f"The number is {scene.number.color}.", scene.number.color)
    if not scene.shapes:
        return None
    thing = rng.choice(scene.shapes)
    ways: list[str] = []
    if present[thing.shape] == 1:
        ways += [wording(rng, "color", "of_shape", shape=thing.shape)] * 3
    if stands_alone(scene, thing):
        ways += PHRASES["color"]["at_position"]
    if len(scene.things) == 1:
        ways += PHRASES["color"]["of_only_thing"]
    if not ways:
        return None
    question = rng.choice(ways).format(position=thing.position)
    return Turn("color", question, f"The {thing.shape} is {thing.color}.", thing.color)


def ask_shape(rng: Random, scene: Scene) -> Turn | None:
    """Ask for a shape by its color or position, sometimes for an absent one."""
    present = Counter(thing.color for thing in scene.shapes)
    if rng.random() < 0.08:
        color = choose_absent(rng, tuple(COLORS), set(present))
        if color is None or (scene.number and scene.number.color == color):
            return None
        question = wording(rng, "shape", "absent", color=color)
        return Turn("shape", question, f"There is no {color} shape.", "none")
    if rng.random() < 0.05:
        cell = choose_absent(rng, CELLS, {thing.position for thing in scene.things})
        if cell is None:
            return None
        question = wording(rng, "shape", "at_empty_position", position=cell)
        return Turn("shape", question, f"There is nothing at the {cell}.", "nothing")
    if not scene.shapes:
        return None
    thing = rng.choice(scene.shapes)
    ways: list[str] = []
    if present[thing.color] == 1 and not (scene.number and scene.number.color == thing.color):
        ways += PHRASES["shape"]["of_color"]
    if stands_alone(scene, thing):
        ways += PHRASES["shape"]["at_position"]
    if len(scene.things) == 1:
        ways += PHRASES["shape"]["of_only_thing"]
    if not ways:
        return None
    answer = f"The {thing.color} shape is {with_article(thing.shape)}."
    question = rng.choice(ways).format(color=thing.color, position=thing.position)
    return Turn("shape", question, answer, thing.shape)


def ask_background(rng: Random, scene: Scene) -> Turn | None:
    """Ask for the color of the background."""
    question = wording(rng, "background")
    return Turn("background", question, f"The background is {scene.background}.", scene.background)


def ask_number(rng: Random, scene: Scene) -> Turn | None:
    """Ask for the printed number, also where there is none."""
    question = wording(rng, "number")
    if scene.number is None:
        return Turn("number", question, "There is no number.", "none")
    return Turn("number", question, f"The number is {scene.number.text}.", scene.number.text)


def ask_position(rng: Random, scene: Scene) -> Turn | None:
    """Ask where a thing is, sometimes an absent one."""
    if not scene.things:
        return None
    thing = rng.choice(scene.things)
    names = unique_names(scene, thing)
    if not names:
        return None
    name = rng.choice(names)
    question = wording(rng, "position", "of_thing", name=name)
    if rng.random() < 0.05 and (
        shape := choose_absent(rng, SHAPES, {t.shape for t in scene.things})
    ):
        question = wording(rng, "position", "absent", shape=shape)
        return Turn("position", question, f"There is no {shape}.", "none")
    return Turn("position", question, f"The {name} is at the {thing.position}.", thing.position)


def ask_relation(rng: Random, scene: Scene) -> Turn | None:
    """Ask whether one thing is left of, right of, above or below another.

    The answer says where both are before it concludes: so small a model cannot compare two places
    that it has not put into words.
    """
    if len(scene.shapes) < 2:
        return None
    one, two = rng.sample(scene.shapes, 2)
    ones, twos = unique_names(scene, one), unique_names(scene, two)
    across, down = one.column - two.column, one.row - two.row
    ways: list[tuple[str, str]] = []  # (true, false)
    if across:
        ways.append(("left", "right") if across < 0 else ("right", "left"))
    if down:
        ways.append(("above", "below") if down < 0 else ("below", "above"))
    if not (ones and twos and ways):
        return None
    first, second = rng.choice(ones), rng.choice(twos)
    true, false = rng.choice(ways)
    asked, word = (true, "yes") if rng.random() < 0.5 else (false, "no")
    relation = asked
    if asked in ("left", "right"):
        relation = wording(rng, "relation", "beside", side=asked)
    question = wording(rng, "relation", first=first, relation=relation, second=second)
    places = f"The {first} is at the {one.position}, the {second} at the {two.position}"
    answer = f"{places}: {true}, so {word}."
    return Turn("relation", question, answer, word)


def describe(scene: Scene) -> str:
    """List everything in reading order: rows from the top, cells from the left."""
    if not scene.things:
        return f"An empty {scene.background} background."
    order = sorted(scene.things, key=lambda t: (t.row, t.column, t.x + t.y))
    parts = [f"{_indefinite(thing)} at the {thing.position}" for thing in order]
    return sentence(", ".join([*parts, f"on {with_article(scene.background)} background."]))


def _indefinite(thing: Thing) -> str:
    if thing.text:
        return f"the number {thing.text} in {thing.color}"
    return with_article(f"{thing.color} {thing.shape}")


def ask_count(rng: Random, scene: Scene) -> Turn | None:
    """Ask how many there are of something, the likelier the more there are of it.

    High numbers of one kind are rare in a random scene, and the hardest to tell.
    """
    way = rng.random()
    pairs = [(one, two) for one in scene.shapes for two in scene.shapes]
    if way < 0.35:
        name, plural = "shape", wording(rng, "count", "shape")
    elif way < 0.75:
        alike = [one.shape for one, two in pairs if one.shape == two.shape]
        shape = rng.choice(alike * 2 + list(SHAPES))
        name, plural = shape, PLURALS[shape]
    else:
        alike = [one.color for one, two in pairs if one.color == two.color]
        color = rng.choice(alike * 3 + list(COLORS))
        name, plural = f"{color} shape", f"{color} shapes"
        if rng.random() < 0.3 and scene.shapes:
            thing = rng.choice(scene.shapes)
            name, plural = f"{thing.color} {thing.shape}", f"{thing.color} {PLURALS[thing.shape]}"
    count = sum(is_called(name, thing) for thing in scene.shapes)
    question = wording(rng, "count", things=plural)
    named = name if count == 1 else plural.replace("objects", "shapes")
    answer = f"There {'is' if count == 1 else 'are'} {COUNTS[count]} {named}."
    return Turn("count", question, answer, "none" if count == 0 else COUNTS[count])


def ask_presence(rng: Random, scene: Scene) -> Turn | None:
    """Ask whether something is there; half of the answers are no."""
    wanted = rng.random() < 0.5
    if scene.shapes and rng.random() < 0.3:
        return _ask_whether(rng, scene, wanted)
    near = [f"{one.color} {two.shape}" for one in scene.shapes for two in scene.shapes]
    pool = [f"{color} {shape}" for color in COLORS for shape in SHAPES] + near * 8
    pool += list(SHAPES) * 6 + [f"{color} shape" for color in COLORS] * 3
    rng.shuffle(pool)
    for name in pool:
        if any(is_called(name, thing) for thing in scene.shapes) is wanted:
            return _presence(rng, name, wanted)
    return None


def _presence(rng: Random, name: str, there: bool) -> Turn:
    question = wording(rng, "presence", thing=with_article(name))
    if there:
        return Turn("presence", question, f"Yes, there is {with_article(name)}.", "yes")
    return Turn("presence", question, f"No, there is no {name}.", "no")


def _ask_whether(rng: Random, scene: Scene, wanted: bool) -> Turn | None:
    thing = rng.choice(scene.shapes)
    if sum(other.shape == thing.shape for other in scene.shapes) != 1:
        return None
    others = [other.color for other in scene.shapes if other.color != thing.color]
    color = thing.color if wanted else rng.choice(others * 2 + list(COLORS))
    word = "yes" if color == thing.color else "no"
    answer = f"{sentence(word)}, the {thing.shape} is {thing.color}."
    question = wording(rng, "presence", "of_color", shape=thing.shape, color=color)
    return Turn("presence", question, answer, word)


def ask_description(rng: Random, scene: Scene) -> Turn | None:
    """Ask for a description of everything."""
    question = wording(rng, "description")
    return Turn("description", question, describe(scene), _summary(scene))


def _summary(scene: Scene) -> str:
    if scene.number and not scene.shapes:
        return scene.number.text
    if len(scene.shapes) == 1:
        return scene.shapes[0].shape
    return "shapes" if scene.shapes else "nothing"


ASKERS: dict[str, Asker] = {
    "color": ask_color,
    "shape": ask_shape,
    "count": ask_count,
    "position": ask_position,
    "relation": ask_relation,
    "presence": ask_presence,
    "description": ask_description,
    "background": ask_background,
    "number": ask_number,
}
