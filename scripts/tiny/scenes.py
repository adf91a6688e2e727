"""Random scenes that are fair to ask about: no overlap, visible colors, clear positions."""

import math
from dataclasses import replace
from random import Random

from scripts.tiny.world import COLORS, NUMBER, SHAPES, Rgb, Scene, Size, Thing

GRID_MARGIN = 0.03  # no centre this near a line of the three by three grid
SIZES = (96, 800)  # sides of an image, pixels
_TURN = {"square": 7.0, "diamond": 6.0, "triangle": 14.0, "star": 16.0, "cross": 8.0}
# By digits: a digit is between a sixth and a half of the shorter side high.
_NUMBER_RADIUS = {1: (0.11, 0.31), 2: (0.165, 0.44), 3: (0.22, 0.46)}


def random_color(rng: Random, name: str) -> Rgb:
    """Draw a value that people call `name`, often Pillow's own."""
    value = COLORS[name][0] if rng.random() < 0.4 else rng.choice(COLORS[name])
    if rng.random() < 0.4:
        return value
    red, green, blue = (min(255, max(0, part + rng.randint(-12, 12))) for part in value)
    return red, green, blue


def random_size(rng: Random, largest_ratio: float = 3.0) -> Size:
    """Draw (width, height) between 96 and 800 pixels: square, wide or tall."""
    short = round(math.exp(rng.uniform(math.log(96), math.log(560))))
    ratio = 1.0 if rng.random() < 0.4 else math.exp(rng.uniform(0, math.log(largest_ratio)))
    long = min(SIZES[1], round(short * ratio))
    return (long, short) if rng.random() < 0.5 else (short, long)


def random_scene(
    rng: Random,
    size: Size,
    shapes: tuple[int, int] = (0, 5),
    smallest: float = 0.09,
    numbers: float = 0.26,
) -> Scene:
    """Draw a scene of `shapes` = (least, most) shapes; now and then a printed number as well.

    No radius is below `smallest`, a share of the shorter side; `numbers` is how often there is one.
    """
    background = "white" if rng.random() < 0.4 else rng.choice(list(COLORS))
    things: list[Thing] = []
    wants_number = rng.random() < numbers
    count = _how_many(rng, *shapes)
    if wants_number:
        count = 0 if rng.random() < 0.75 else rng.randint(1, 2)
        _place(rng, things, _random_number(rng, background), size, smallest)
    palette = _palette(rng, background)
    kinds = rng.sample(SHAPES, rng.randint(2, 6)) if rng.random() < 0.7 else list(SHAPES)
    if rng.random() < 0.12:
        kinds = kinds[:1]
    crowd = count + (1 if wants_number else 0)
    for _ in range(count):
        shape, color = rng.choice(kinds), rng.choice(palette)
        thing = Thing(
            shape,
            color,
            random_color(rng, color),
            x=0.5,
            y=0.5,
            radius=_radius(rng, crowd, smallest),
            angle=rng.uniform(-1, 1) * _TURN.get(shape, 0.0) if rng.random() < 0.5 else 0.0,
            stretch=_stretch(rng, shape),
            detail=rng.random(),
        )
        _place(rng, things, thing, size, smallest)
    return Scene(
        background,
        random_color(rng, background),
        tuple(things),
        smooth=rng.random() < 0.4,
        quality=rng.randint(40, 92) if rng.random() < 0.1 else 0,
    )


def recolored(rng: Random, thing: Thing, background: str) -> Thing:
    """Copy a thing in another color."""
    color = rng.choice([name for name in _visible(background) if name != thing.color])
    return replace(thing, color=color, rgb=random_color(rng, color))


def moved(rng: Random, scene: Scene, thing: Thing, size: Size) -> Thing | None:
    """Copy a thing to another cell; None where nothing is free."""
    others = [other for other in scene.things if other is not thing]
    for _ in range(40):
        there = replace(thing, x=rng.random(), y=rng.random())
        if there.position != thing.position and fits(there, others, size):
            return there
    return None


def added(rng: Random, scene: Scene, size: Size) -> Thing | None:
    """Draw a thing that fits into the scene; None where nothing is free."""
    color = rng.choice(_visible(scene.background))
    thing = Thing(rng.choice(SHAPES), color, random_color(rng, color), 0.5, 0.5, 0.14)
    things = list(scene.things)
    _place(rng, things, thing, size, thing.radius)
    return things[-1] if len(things) > len(scene.things) else None


def fits(thing: Thing, others: list[Thing], size: Size) -> bool:
    """Whether a thing lies inside the image, clear of grid lines and of the others."""
    short = min(size)
    radius = thing.radius * short
    x, y = thing.x * size[0], thing.y * size[1]
    if min(x, y, size[0] - x, size[1] - y) < radius + 0.01 * short:
        return False
    if any(abs(at - line) < GRID_MARGIN for at in (thing.x, thing.y) for line in (1 / 3, 2 / 3)):
        return False
    return all(_apart(thing, other, size) for other in others)


def _apart(one: Thing, two: Thing, size: Size) -> bool:
    distance = math.hypot((one.x - two.x) * size[0], (one.y - two.y) * size[1])
    if distance < 1.06 * (one.radius + two.radius) * min(size) + 1:
        return False
    same_cell = one.position == two.position
    return not same_cell or abs(one.x + one.y - two.x - two.y) > 0.08


def _place(rng: Random, things: list[Thing], thing: Thing, size: Size, smallest: float) -> None:
    on_grid = rng.random() < 0.6
    for attempt in range(60):
        if on_grid:
            x = (rng.randrange(3) + 0.5) / 3 + rng.uniform(-0.09, 0.09)
            y = (rng.randrange(3) + 0.5) / 3 + rng.uniform(-0.09, 0.09)
        else:
            x, y = rng.random(), rng.random()
        shrink = max(smallest, thing.radius * (0.97**attempt))
        there = replace(thing, x=x, y=y, radius=min(thing.radius, shrink))
        if fits(there, things, size):
            things.append(there)
            return


def _how_many(rng: Random, least: int, most: int) -> int:
    if least == 0 and rng.random() < 0.02:
        return 0
    return rng.randint(max(1, least), most)


def _radius(rng: Random, crowd: int, smallest: float) -> float:
    largest = (0.42, 0.42, 0.26, 0.22, 0.19, 0.18, 0.17)[min(crowd, 6)]
    return rng.uniform(smallest, max(largest, smallest))


def _stretch(rng: Random, shape: str) -> float:
    if rng.random() < 0.5:
        return 1.0
    return rng.uniform(0.7, 1.0) if shape == "diamond" else rng.uniform(0.85, 1.18)


def _visible(background: str) -> list[str]:
    return [name for name in COLORS if name != background]


def _palette(rng: Random, background: str) -> list[str]:
    names = _visible(background)
    return names if rng.random() < 0.5 else rng.sample(names, 3)


def _random_number(rng: Random, background: str) -> Thing:
    color = rng.choice(_visible(background))
    if background == "white" and rng.random() < 0.4:
        color = "black"
    digits = rng.randint(1, 3)
    text = str(rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1))
    radius = rng.uniform(*_NUMBER_RADIUS[digits])
    return Thing(NUMBER, color, random_color(rng, color), 0.5, 0.5, radius, text=text)
