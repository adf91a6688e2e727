"""Questions about where things are, alone and beside each other."""

from random import Random

from llava_serve.tiny.turns import Turn, choose_absent, sentence, unique_names
from llava_serve.tiny.world import SHAPES, Scene

_CLEAR = 0.15  # how far apart two centres lie, as a share of the side, to be left of or above


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
    """Ask whether one thing is left of, right of, above or below another."""
    if len(scene.shapes) < 2:
        return None
    one, two = rng.sample(scene.shapes, 2)
    ones, twos = unique_names(scene, one), unique_names(scene, two)
    across, down = one.x - two.x, one.y - two.y
    ways: list[tuple[str, str]] = []  # (true, false)
    if abs(across) > _CLEAR:
        ways.append(("left of", "right of") if across < 0 else ("right of", "left of"))
    if abs(down) > _CLEAR:
        ways.append(("above", "below") if down < 0 else ("below", "above"))
    if not (ones and twos and ways):
        return None
    first, second = rng.choice(ones), rng.choice(twos)
    true, false = rng.choice(ways)
    asked, word = (true, "yes") if rng.random() < 0.5 else (false, "no")
    said = asked if rng.random() < 0.5 else _to_the(asked)
    answer = f"{sentence(word)}, the {first} is {true} the {second}."
    return Turn("relation", f"Is the {first} {said} the {second}?", answer, word)


def _to_the(relation: str) -> str:
    return f"to the {relation}" if relation.endswith(" of") else relation
