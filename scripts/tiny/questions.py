"""Questions about a whole picture, and the table of all kinds that one picture allows."""

from random import Random

from scripts.tiny.looks import ask_background, ask_color, ask_number, ask_shape
from scripts.tiny.places import ask_position, ask_relation
from scripts.tiny.turns import COUNTS, PLURALS, Asker, Turn, is_called, sentence, with_article
from scripts.tiny.world import COLORS, SHAPES, Scene, Thing


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
        name, plural = "shape", rng.choice(("shapes", "shapes", "objects"))
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
    question = rng.choice(
        (
            f"How many {plural} are there?",
            f"How many {plural} are there?",
            f"How many {plural} do you see?",
            f"How many {plural} are in the picture?",
            f"Count the {plural}.",
        )
    )
    named = name if count == 1 else plural.replace("objects", "shapes")
    answer = f"There {'is' if count == 1 else 'are'} {COUNTS[count]} {named}."
    return Turn("count", question, answer, "none" if count == 0 else COUNTS[count])


def ask_presence(rng: Random, scene: Scene) -> Turn | None:
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
    question = rng.choice(
        (
            f"Is there {with_article(name)}?",
            f"Is there {with_article(name)} in the picture?",
            f"Do you see {with_article(name)}?",
            f"Can you see {with_article(name)}?",
            f"Does the picture show {with_article(name)}?",
        )
    )
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
    return Turn("presence", f"Is the {thing.shape} {color}?", answer, word)


def ask_description(rng: Random, scene: Scene) -> Turn | None:
    question = rng.choice(
        (
            "What do you see?",
            "Describe the picture.",
            "Describe the image.",
            "Describe this picture.",
            "What is in this image?",
            "What is in the picture?",
            "What does the picture show?",
            "What can you see in this picture?",
            "Describe what you see.",
        )
    )
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
