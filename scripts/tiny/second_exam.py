"""Second exam: questions about the second painter's pictures, worded by code of its own."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

from scripts.tiny.dialogue import Dialogue, DialogueExchange, DrawnImage, Medium
from scripts.tiny.second_painter import (
    FIELDS,
    PAINTS,
    Canvas,
    Item,
    number_canvas,
    paint,
    random_canvas,
    random_item,
)
from scripts.tiny.turns import Turn

_NUMERALS = ("no", "one", "two", "three", "four", "five")
_CELLS = [(row, column) for row in range(3) for column in range(3)]
Asked = tuple[tuple[Canvas, ...], str, str, str]  # canvases, question, answer, the answer in a word


def draw_second_exam(questions: int, seed: int) -> list[Dialogue]:
    """Draw equally many questions of each of `ASKERS`' kinds, at least `questions` in all."""
    each = -(-questions // len(ASKERS))
    rngs = {kind: Random(f"second {seed} {kind}") for kind in ASKERS}
    return [_dialogue(rngs[kind], kind) for kind in ASKERS for _ in range(each)]


def _dialogue(rng: Random, kind: str) -> Dialogue:
    while (asked := ASKERS[kind](rng)) is None:
        pass
    canvases, question, answer, word = asked
    images = [DrawnImage(paint(canvas), None) for canvas in canvases]
    media = tuple(Medium((image,)) for image in images)
    if kind == "motion":
        media = (Medium(tuple(images), is_video=True),)
    return Dialogue((DialogueExchange(Turn(kind, question, answer, word), media),), form=kind)


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _only(items: tuple[Item, ...], item: Item) -> str | None:
    """Return a name that no other item of the canvas answers to."""
    shapes, colors = Counter(i.shape for i in items), Counter(i.color for i in items)
    if shapes[item.shape] == 1:
        return item.shape
    if colors[item.color] == 1:
        return f"{item.color} shape"
    return item.name if Counter(i.name for i in items)[item.name] == 1 else None


def _color(rng: Random) -> Asked | None:
    canvas = random_canvas(rng)
    item = rng.choice(canvas.items)
    ways = [f"What color is the shape at the {item.place}?"]
    if _only(canvas.items, item) == item.shape:
        ways += [f"What color is the {item.shape}?", f"Which colour is the {item.shape}?"]
    answer = f"The {item.shape} is {item.color}."
    return (canvas,), rng.choice(ways), answer, item.color


def _shape(rng: Random) -> Asked | None:
    canvas = random_canvas(rng)
    item = rng.choice(canvas.items)
    ways = [f"What shape is at the {item.place}?"]
    if Counter(i.color for i in canvas.items)[item.color] == 1:
        ways += [f"What shape is {item.color}?", f"What is the {item.color} shape?"]
    answer = f"The {item.color} shape is {_a(item.shape)}."
    return (canvas,), rng.choice(ways), answer, item.shape


def _count(rng: Random) -> Asked | None:
    canvas = random_canvas(rng)
    item = rng.choice(canvas.items)
    plural = "crosses" if item.shape == "cross" else f"{item.shape}s"
    one, many, fits = rng.choice(
        (
            ("shape", "shapes", lambda _: True),
            (item.shape, plural, lambda i: i.shape == item.shape),
            (f"{item.color} shape", f"{item.color} shapes", lambda i: i.color == item.color),
        )
    )
    count = sum(map(fits, canvas.items))
    if count > 2 and one != "shape":
        return None  # more than two alike among several are known to be hard
    said = f"is one {one}" if count == 1 else f"are {_NUMERALS[count]} {many}"
    question = rng.choice((f"How many {many} are there?", f"How many {many} do you see?"))
    return (canvas,), question, f"There {said}.", _NUMERALS[count]


def _position(rng: Random) -> Asked | None:
    canvas = random_canvas(rng)
    item = rng.choice(canvas.items)
    name = _only(canvas.items, item)
    question = rng.choice(("Where is the {}?", "Where in the picture is the {}?"))
    answer = f"The {name} is at the {item.place}."
    return None if name is None else ((canvas,), question.format(name), answer, item.place)


def _relation(rng: Random) -> Asked | None:
    canvas = random_canvas(rng, (2, 4))
    one, two = rng.sample(canvas.items, 2)
    names = [_only(canvas.items, item) for item in (one, two)]
    across, down = one.cell[1] - two.cell[1], one.cell[0] - two.cell[0]
    sides = ["left" if across < 0 else "right"] * bool(across)
    sides += ["above" if down < 0 else "below"] * bool(down)
    if None in names:
        return None
    true = rng.choice(sides)
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}[true]
    asked, word = rng.choice(((true, "yes"), (opposite, "no")))
    wording = f"{asked} of" if asked in ("left", "right") else asked
    places = f"The {names[0]} is at the {one.place}, the {names[1]} at the {two.place}"
    question = f"Is the {names[0]} {wording} the {names[1]}?"
    return (canvas,), question, f"{places}: {true}, so {word}.", word


def _presence(rng: Random) -> Asked | None:
    canvas = random_canvas(rng)
    names = [name for i in canvas.items for name in (i.shape, i.name, f"{i.color} shape")]
    others = [*FIELDS, *(f"{color} shape" for color in PAINTS)]
    others += [f"{i.color} {shape}" for i in canvas.items for shape in FIELDS]
    absent = [name for name in others if name not in names]
    there = rng.random() < 0.5
    name = rng.choice(names if there else absent)
    answer = f"Yes, there is {_a(name)}." if there else f"No, there is no {name}."
    question = rng.choice(("Is there {} in the picture?", "Is there {}?", "Do you see {}?"))
    return (canvas,), question.format(_a(name)), answer, "yes" if there else "no"


def _description(rng: Random) -> Asked | None:
    canvas = random_canvas(rng, (1, 4))
    parts = [f"{_a(i.name)} at the {i.place}" for i in sorted(canvas.items, key=lambda i: i.cell)]
    answer = ", ".join([*parts, f"on {_a(canvas.ground)} background."])
    question = rng.choice(("Describe the picture.", "What do you see?", "What is in the picture?"))
    word = canvas.items[0].shape if len(canvas.items) == 1 else "shapes"
    return (canvas,), question, answer[0].upper() + answer[1:], word


def _background(rng: Random) -> Asked | None:
    canvas = random_canvas(rng)
    question = rng.choice(("What color is the background?", "Which color is the background?"))
    return (canvas,), question, f"The background is {canvas.ground}.", canvas.ground


def _number(rng: Random) -> Asked | None:
    canvas = number_canvas(rng)
    text = canvas.items[0].text
    question = rng.choice(("What number is printed?", "What number do you see?"))
    return (canvas,), question, f"The number is {text}.", text


def _which(rng: Random) -> Asked | None:
    canvases = random_canvas(rng, (1, 2), 1.5), random_canvas(rng, (1, 2), 1.5)
    wanted = rng.randrange(2)
    name = rng.choice(canvases[wanted].items).name
    if name in [item.name for item in canvases[1 - wanted].items]:
        return None
    word = ("first", "second")[wanted]
    question = rng.choice(("Which picture has {}?", "Which picture shows {}?"))
    return canvases, question.format(_a(name)), f"The {word} picture.", word


def _change(rng: Random) -> Asked | None:
    before = random_canvas(rng, (2, 3), 1.5)
    item, *rest = before.items
    if item.name in [other.name for other in rest]:
        return None
    free = [cell for cell in _CELLS if cell not in [i.cell for i in before.items]]
    new = random_item(rng, before.ground, rng.choice(free), 0.15)
    way = rng.choice(("color", "shape", "moved", "added", "removed"))
    changed: tuple[Item, ...] = ()
    if way == "color" and new.color != item.color:
        changed = (replace(item, color=new.color, rgb=new.rgb),)
        answer = f"The {item.name} became {new.color}."
    elif way == "shape" and new.shape != item.shape:
        changed = (replace(item, shape=new.shape),)
        answer = f"The {item.name} became {_a(new.shape)}."
    elif way == "moved":
        changed = (replace(item, cell=new.cell),)
        answer = f"The {item.name} moved from the {item.place} to the {changed[0].place}."
    elif way == "added" and new.name not in [i.name for i in before.items]:
        changed = (item, new)
        answer = f"{_a(new.name).capitalize()} was added."
    elif way == "removed":
        answer = f"{_a(item.name).capitalize()} was removed."
    else:
        return None
    question = rng.choice(("What changed?", "What changed between the two pictures?"))
    return (before, replace(before, items=(*changed, *rest))), question, answer, way


def _motion(rng: Random) -> Asked | None:
    canvas = random_canvas(rng, (1, 1), 1.8)
    item = replace(canvas.items[0], radius=rng.uniform(0.13, 0.2))
    word, (down, across) = rng.choice(
        [("left", (0, -1)), ("right", (0, 1)), ("up", (-1, 0)), ("down", (1, 0))]
    )
    steps = [0.27 * (2 * i / 5 - 1) for i in range(6)]
    frames = tuple(
        replace(canvas, items=(replace(item, cell=(1, 1), off=(step * across, step * down)),))
        for step in steps
    )
    to = f"to the {word}" if word in ("left", "right") else word
    question = rng.choice(("Which way does the {} move?", "How does the {} move?"))
    return frames, question.format(item.shape), f"The {item.name} moves {to}.", word


ASKERS: dict[str, Callable[[Random], Asked | None]] = {
    "color": _color,
    "shape": _shape,
    "count": _count,
    "position": _position,
    "relation": _relation,
    "presence": _presence,
    "description": _description,
    "background": _background,
    "number": _number,
    "which picture": _which,
    "change": _change,
    "motion": _motion,
}
