"""Questions about how things look: colour, shape, background, the printed number."""

from collections import Counter
from random import Random

from scripts.tiny.turns import CELLS, Turn, choose_absent, stands_alone, with_article
from scripts.tiny.world import COLORS, SHAPES, Scene


def ask_color(rng: Random, scene: Scene) -> Turn | None:
    present = Counter(thing.shape for thing in scene.shapes)
    if rng.random() < 0.08:
        shape = choose_absent(rng, SHAPES, set(present))
        if shape is None:
            return None
        return Turn("color", _color_of(rng, shape), f"There is no {shape}.", "none")
    if scene.number and (rng.random() < 0.4 or not scene.shapes):
        question = rng.choice(
            (
                "What color is the number?",
                "What color are the digits?",
                "Which color is the number?",
            )
        )
        return Turn("color", question, f"The number is {scene.number.color}.", scene.number.color)
    if not scene.shapes:
        return None
    thing = rng.choice(scene.shapes)
    ways = []
    if present[thing.shape] == 1:
        ways += [_color_of(rng, thing.shape)] * 3
    if stands_alone(scene, thing):
        ways.append(f"What color is the shape at the {thing.position}?")
    if len(scene.things) == 1:
        ways += ["What color is it?", "What color is the shape?", "What color is the object?"]
    if not ways:
        return None
    return Turn("color", rng.choice(ways), f"The {thing.shape} is {thing.color}.", thing.color)


def _color_of(rng: Random, shape: str) -> str:
    return rng.choice(
        (
            f"What color is the {shape}?",
            f"What color is the {shape}?",
            f"Which color is the {shape}?",
            f"What is the color of the {shape}?",
            f"Tell me the color of the {shape}.",
            f"Which color does the {shape} have?",
            f"The {shape} is which color?",
        )
    )


def ask_shape(rng: Random, scene: Scene) -> Turn | None:
    present = Counter(thing.color for thing in scene.shapes)
    if rng.random() < 0.08:
        color = choose_absent(rng, tuple(COLORS), set(present))
        if color is None or (scene.number and scene.number.color == color):
            return None
        return Turn("shape", f"What shape is {color}?", f"There is no {color} shape.", "none")
    if rng.random() < 0.05:
        cell = choose_absent(rng, CELLS, {thing.position for thing in scene.things})
        question = f"What is at the {cell}?"
        return (
            Turn("shape", question, f"There is nothing at the {cell}.", "nothing") if cell else None
        )
    if not scene.shapes:
        return None
    thing = rng.choice(scene.shapes)
    ways = []
    if present[thing.color] == 1 and not (scene.number and scene.number.color == thing.color):
        ways += [
            f"What shape is {thing.color}?",
            f"Which shape is {thing.color}?",
            f"What shape is the {thing.color} object?",
            f"What is the {thing.color} shape?",
            f"What shape is the {thing.color} one?",
        ]
    if stands_alone(scene, thing):
        ways += [
            f"What shape is at the {thing.position}?",
            f"Which shape is at the {thing.position}?",
            f"What is at the {thing.position}?",
        ]
    if len(scene.things) == 1:
        ways += ["What shape is it?", "What shape is this?", "What shape do you see?"]
        ways += ["Which shape is in the picture?", "What shape is in the image?"]
    if not ways:
        return None
    answer = f"The {thing.color} shape is {with_article(thing.shape)}."
    return Turn("shape", rng.choice(ways), answer, thing.shape)


def ask_background(rng: Random, scene: Scene) -> Turn | None:
    question = rng.choice(
        (
            "What color is the background?",
            "Which color is the background?",
            "What is the background color?",
            "What is the color of the background?",
        )
    )
    return Turn("background", question, f"The background is {scene.background}.", scene.background)


def ask_number(rng: Random, scene: Scene) -> Turn | None:
    question = rng.choice(
        (
            "What number is printed?",
            "What number do you see?",
            "Which number is in the picture?",
            "Which number is shown?",
            "What is the number?",
            "Read the number.",
            "What does it say?",
        )
    )
    if scene.number is None:
        return Turn("number", question, "There is no number.", "none")
    return Turn("number", question, f"The number is {scene.number.text}.", scene.number.text)
