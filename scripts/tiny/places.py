"""Questions about where things are, alone and beside each other."""

from random import Random

from scripts.tiny.turns import Turn, choose_absent, unique_names
from scripts.tiny.world import SHAPES, Scene


def ask_position(rng: Random, scene: Scene) -> Turn | None:
    if not scene.things:
        return None
    thing = rng.choice(scene.things)
    names = unique_names(scene, thing)
    if not names:
        return None
    name = rng.choice(names)
    question = rng.choice(
        (
            f"Where is the {name}?",
            f"Where is the {name}?",
            f"Where in the picture is the {name}?",
            f"What is the position of the {name}?",
            f"Where do you see the {name}?",
        )
    )
    if rng.random() < 0.05 and (
        shape := choose_absent(rng, SHAPES, {t.shape for t in scene.things})
    ):
        return Turn("position", f"Where is the {shape}?", f"There is no {shape}.", "none")
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
    said = _spelled(rng, asked)
    places = f"The {first} is at the {one.position}, the {second} at the {two.position}"
    answer = f"{places}: {true}, so {word}."
    return Turn("relation", f"Is the {first} {said} the {second}?", answer, word)


def _spelled(rng: Random, way: str) -> str:
    if way in ("above", "below"):
        return way
    return rng.choice((f"{way} of", f"to the {way} of"))
