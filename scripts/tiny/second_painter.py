"""Second painter: pictures and questions of the same world by independent code, to examine with.

Shapes are signed distance fields with smooth edges, colors are those of CSS and of paint charts,
and places, sizes and sentences are drawn by rules of its own. Nothing here is trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Rgb = tuple[int, int, int]
Field = npt.NDArray[np.float64]  # (height, width)
Distance = Callable[[Field, Field], Field]

PAINTS: dict[str, tuple[Rgb, ...]] = {
    "red": ((255, 0, 0), (220, 20, 60), (178, 34, 34), (211, 47, 47), (232, 17, 35)),
    "orange": ((255, 165, 0), (255, 140, 0), (255, 127, 0), (251, 140, 0), (245, 145, 30)),
    "yellow": ((255, 255, 0), (255, 215, 0), (255, 247, 0), (255, 235, 59), (253, 218, 13)),
    "green": ((0, 128, 0), (0, 255, 0), (34, 139, 34), (46, 139, 87), (0, 100, 0), (76, 175, 80)),
    "blue": ((0, 0, 255), (65, 105, 225), (30, 144, 255), (0, 0, 205), (0, 0, 128), (25, 118, 210)),
    "purple": ((128, 0, 128), (75, 0, 130), (148, 0, 211), (102, 51, 153), (153, 50, 204)),
    "black": ((0, 0, 0), (18, 18, 18), (28, 28, 28)),
    "white": ((255, 255, 255), (255, 250, 250), (245, 245, 245)),
    "gray": ((128, 128, 128), (105, 105, 105), (169, 169, 169), (142, 142, 147)),
}
ROWS = ("top", "", "bottom")
COLUMNS = ("left", "", "right")
_JITTER = 10  # levels, each channel alone


def _half_plane(x: Field, y: Field, degrees: float, offset: float) -> Field:
    turn = np.deg2rad(degrees)
    return np.asarray(x * np.cos(turn) + y * np.sin(turn) - offset)


def _polygon(*sides: tuple[float, float]) -> Distance:
    """Convex: (degrees of the normal, distance from the centre) of each side."""
    return lambda x, y: np.max([_half_plane(x, y, *side) for side in sides], axis=0)


def _star(x: Field, y: Field) -> Field:
    """Fold the plane into one ray, whose edge runs from the tip at 1 to a notch at 0.42."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + np.pi / 2
    fifth = 2 * np.pi / 5
    angle = np.abs((angle + fifth / 2) % fifth - fifth / 2)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    notch_x, notch_y = 0.42 * np.cos(fifth / 2), 0.42 * np.sin(fifth / 2)
    length = np.hypot(1 - notch_x, notch_y)
    return np.asarray(((along - 1) * notch_y + across * (1 - notch_x)) / length)


def _cross(x: Field, y: Field) -> Field:
    wide, high = np.maximum(abs(x) - 0.92, abs(y) - 0.28), np.maximum(abs(x) - 0.28, abs(y) - 0.92)
    return np.minimum(wide, high)


# Negative inside; the radius of each is about one.
FIELDS: dict[str, Distance] = {
    "circle": lambda x, y: np.hypot(x, y) - 0.93,
    "square": lambda x, y: np.hypot(*(np.maximum(abs(v) - 0.72, 0) for v in (x, y))) - 0.08,
    "triangle": _polygon((90, 0.6), (-28, 0.46), (208, 0.46)),
    "star": _star,
    "diamond": _polygon((40, 0.7), (-40, 0.7), (140, 0.7), (-140, 0.7)),
    "cross": _cross,
}


@dataclass(frozen=True, slots=True)
class Item:
    """A shape, or the number `text`; in cell (row, column) of the three by three grid."""

    shape: str
    color: str
    rgb: Rgb
    cell: tuple[int, int]
    off: tuple[float, float]  # from the middle of the cell: shares of the width and the height
    radius: float  # share of the shorter side
    tilt: float = 0.0  # degrees
    text: str = ""

    @property
    def place(self) -> str:
        """Name of the cell."""
        row, column = self.cell
        return f"{ROWS[row]} {COLUMNS[column]}".strip() or "center"

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture to paint: (width, height), its ground, and what lies on it."""

    size: tuple[int, int]
    ground: str
    ground_rgb: Rgb
    items: tuple[Item, ...]
    blur: float  # pixels over which an edge fades


def mixed(rng: Random, color: str) -> Rgb:
    """Draw a paint of this color, each channel off by up to ten levels."""
    red, green, blue = (
        min(255, max(0, level + rng.randint(-_JITTER, _JITTER)))
        for level in rng.choice(PAINTS[color])
    )
    return red, green, blue


def paint(canvas: Canvas) -> Image.Image:
    """Paint a canvas as an RGB image."""
    width, height = canvas.size
    levels = np.ones((height, width, 3)) * canvas.ground_rgb
    for item in canvas.items:
        inside = _printed(item, canvas.size) if item.text else _covered(item, canvas)
        levels += inside[..., None] * (np.array(item.rgb) - levels)
    return Image.fromarray(levels.round().astype(np.uint8))


def _middle(item: Item, size: tuple[int, int]) -> tuple[float, float]:
    row, column = item.cell
    return ((column + 0.5) / 3 + item.off[0]) * size[0], ((row + 0.5) / 3 + item.off[1]) * size[1]


def _covered(item: Item, canvas: Canvas) -> Field:
    """Return the share of each pixel that a shape covers."""
    x, y = _middle(item, canvas.size)
    radius = item.radius * min(canvas.size)
    down, across = np.mgrid[: canvas.size[1], : canvas.size[0]] + 0.5
    turn = np.deg2rad(item.tilt)
    across, down = (across - x) / radius, (down - y) / radius
    turned = (
        across * np.cos(turn) + down * np.sin(turn),
        down * np.cos(turn) - across * np.sin(turn),
    )
    distance = FIELDS[item.shape](*turned) * radius
    return np.clip(0.5 - distance / canvas.blur, 0, 1)


def _printed(item: Item, size: tuple[int, int]) -> Field:
    """Print a number twice as large as it is shown, for smooth edges."""
    mask = Image.new("L", (2 * size[0], 2 * size[1]))
    font = ImageFont.load_default(item.radius * min(mask.size))
    x, y = _middle(item, mask.size)
    ImageDraw.Draw(mask).text((x, y), item.text, fill=255, font=font, anchor="mm")
    return np.asarray(mask.resize(size, Image.Resampling.BOX), dtype=np.float64) / 255


def random_canvas(rng: Random, shapes: tuple[int, int] = (1, 5), longest: float = 2.4) -> Canvas:
    """Draw a canvas of (least, most) shapes, each in a cell of its own.

    `longest` is the most that the longer side may be, as a multiple of the shorter.
    """
    size, ground = _size(rng, longest), _ground(rng)
    count = rng.randint(*shapes)
    cells = rng.sample([(row, column) for row in range(3) for column in range(3)], count)
    alone = cells == [(1, 1)]
    items = tuple(random_item(rng, ground, cell, 0.3 if alone else 0.15) for cell in cells)
    return Canvas(size, ground, mixed(rng, ground), items, rng.uniform(1, 2.2))


def number_canvas(rng: Random) -> Canvas:
    """Draw a canvas with one printed number in its middle."""
    size, ground = _size(rng, 2.4), _ground(rng)
    text = str(rng.randint(*rng.choice(((0, 9), (10, 99), (100, 999)))))
    item = random_item(rng, ground, (1, 1), 0.15)
    item = replace(item, shape="number", text=text, radius=rng.uniform(0.3, 0.8 - 0.12 * len(text)))
    return Canvas(size, ground, mixed(rng, ground), (item,), 1.0)


def random_item(rng: Random, ground: str, cell: tuple[int, int], largest: float) -> Item:
    """Draw a shape of any color but the ground's."""
    color = rng.choice([color for color in PAINTS if color != ground])
    radius = rng.uniform(0.12, largest)
    room = max(0.0, 0.155 - radius)
    off = rng.uniform(-room, room), rng.uniform(-room, room)
    shape, tilt = rng.choice(list(FIELDS)), rng.uniform(-5, 5)
    return Item(shape, color, mixed(rng, color), cell, off, radius, tilt)


def _size(rng: Random, longest: float) -> tuple[int, int]:
    short = rng.randint(130, 420)
    long = min(700, round(short * rng.choice((1.0, rng.uniform(1, longest)))))
    return (short, long) if rng.random() < 0.5 else (long, short)


def _ground(rng: Random) -> str:
    return "white" if rng.random() < 0.3 else rng.choice(list(PAINTS))
