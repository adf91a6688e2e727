"""Scenes of shapes and numbers, and how they are drawn; Pillow only, no model."""

import io
import math
from dataclasses import dataclass, replace
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Size = tuple[int, int]  # (width, height) in pixels
Rgb = tuple[int, int, int]
Point = tuple[float, float]

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
NUMBER = "number"

# The first value of each colour is Pillow's own; the others are what people also call by that name.
COLORS: dict[str, tuple[Rgb, ...]] = {
    "red": ((255, 0, 0), (220, 30, 30), (200, 20, 40)),
    "orange": ((255, 165, 0), (255, 140, 0), (240, 120, 20)),
    "yellow": ((255, 255, 0), (250, 225, 40), (240, 230, 80)),
    "green": ((0, 128, 0), (0, 255, 0), (40, 170, 70), (50, 205, 50)),
    "blue": ((0, 0, 255), (30, 80, 220), (65, 105, 225), (10, 20, 170)),
    "purple": ((128, 0, 128), (150, 50, 180), (160, 32, 240)),
    "black": ((0, 0, 0), (20, 20, 20)),
    "white": ((255, 255, 255), (245, 245, 245)),
    "gray": ((128, 128, 128), (150, 150, 150), (110, 110, 110)),
}

POSITIONS = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
SQUARE_SIDE = 0.86  # half a square's side, as a share of its radius


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape or a printed number; lengths are shares of the image, so that it fits any size."""

    shape: str
    color: str
    rgb: Rgb
    x: float  # centre, share of the width
    y: float  # centre, share of the height
    radius: float  # share of the shorter side
    angle: float = 0.0  # degrees
    stretch: float = 1.0  # width over height
    detail: float = 0.5  # how deep a star's notches or how thick a cross's arms are, 0 to 1
    text: str = ""

    @property
    def position(self) -> str:
        """Where the centre lies on a three by three grid."""
        return POSITIONS[self.row][self.column]

    @property
    def row(self) -> int:
        return min(2, int(self.y * 3))

    @property
    def column(self) -> int:
        return min(2, int(self.x * 3))


@dataclass(frozen=True, slots=True)
class Scene:
    """A plain background and the things on it."""

    background: str
    background_rgb: Rgb
    things: tuple[Thing, ...]
    smooth: bool = False  # antialiased edges
    quality: int = 0  # JPEG quality of the artefacts, 0 for none

    @property
    def shapes(self) -> tuple[Thing, ...]:
        return tuple(thing for thing in self.things if thing.shape != NUMBER)

    @property
    def number(self) -> Thing | None:
        return next((thing for thing in self.things if thing.shape == NUMBER), None)


def outline(thing: Thing, size: Size) -> list[Point]:
    """Return the polygon of a shape (a circle has 40 corners), in pixels of an image of `size`."""
    radius = thing.radius * min(size)
    corners = [(x * radius, y * radius) for x, y in _corners(thing)]
    cos, sin = math.cos(math.radians(thing.angle)), math.sin(math.radians(thing.angle))
    return [
        (thing.x * size[0] + x * cos - y * sin, thing.y * size[1] + x * sin + y * cos)
        for x, y in corners
    ]


def _corners(thing: Thing) -> list[Point]:
    wide, high = min(1.0, thing.stretch), min(1.0, 1 / thing.stretch)
    if thing.shape == "square":
        side = SQUARE_SIDE
        points = [(-side, -side), (side, -side), (side, side), (-side, side)]
    elif thing.shape == "triangle":
        points = [(0.0, -0.95), (0.9, 0.75), (-0.9, 0.75)]
    elif thing.shape == "diamond":
        points = [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)]
    elif thing.shape == "cross":
        points = _cross(0.2 + 0.15 * thing.detail)
    elif thing.shape == "star":
        notch = 0.38 + 0.12 * thing.detail
        points = [_around(-90 + 36 * i, notch if i % 2 else 1.0) for i in range(10)]
    else:
        points = [_around(9 * i, 0.95) for i in range(40)]
    return [(x * wide, y * high) for x, y in points]


def _around(degrees: float, radius: float) -> Point:
    return radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))


def _cross(arm: float) -> list[Point]:
    long = 0.95
    quarter = [(-arm, -long), (arm, -long), (arm, -arm)]
    points: list[Point] = []
    for _ in range(4):
        points += quarter
        quarter = [(-y, x) for x, y in quarter]
    return points


@lru_cache(maxsize=256)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, so that no font file travels with the package."""
    return ImageFont.load_default(size)


def digit_boxes(thing: Thing, size: Size) -> list[tuple[float, float, float, float]]:
    """Return the box of each printed digit: (left, top, right, bottom) in pixels."""
    type_face = font(font_size(thing, size))
    _, top, _, bottom = type_face.getbbox(thing.text)
    x, y = _corner(thing, size)
    edges = [x + type_face.getlength(thing.text[:i]) for i in range(len(thing.text) + 1)]
    return [(edges[i], y + top, edges[i + 1], y + bottom) for i in range(len(thing.text))]


def _corner(thing: Thing, size: Size) -> Point:
    """Where to print a number so that its middle lies where the thing does."""
    left, top, right, bottom = font(font_size(thing, size)).getbbox(thing.text)
    return thing.x * size[0] - (left + right) / 2, thing.y * size[1] - (top + bottom) / 2


def font_size(thing: Thing, size: Size) -> int:
    """Font size in pixels whose text just fits the circle of the number's radius."""
    left, top, right, bottom = font(100).getbbox(thing.text)
    diagonal = math.hypot(right - left, bottom - top) / 100
    return max(8, int(2 * thing.radius * min(size) / diagonal))


def draw(scene: Scene, size: Size) -> Image.Image:
    """Draw `scene` as an RGB image of `size` = (width, height)."""
    scale = 3 if scene.smooth and max(size) <= 400 else 1
    canvas = (size[0] * scale, size[1] * scale)
    image = Image.new("RGB", canvas, scene.background_rgb)
    pen = ImageDraw.Draw(image)
    for thing in scene.things:
        if thing.shape == NUMBER:
            _print_number(pen, thing, canvas)
        else:
            pen.polygon(outline(thing, canvas), fill=thing.rgb)
    if scale > 1:
        image = image.resize(size, Image.Resampling.BOX)
    return _compressed(image, scene.quality) if scene.quality else image


def _print_number(pen: ImageDraw.ImageDraw, thing: Thing, size: Size) -> None:
    type_face = font(font_size(thing, size))
    pen.text(_corner(thing, size), thing.text, fill=thing.rgb, font=type_face)


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def simple_image(
    shape: str, color: str, background: str = "white", size: Size = (336, 336)
) -> Image.Image:
    """Draw one shape in the middle of a plain image."""
    return draw(_simple_scene(shape, color, background), size)


def motion_frames(
    shape: str, color: str, direction: str, count: int = 6, size: Size = (96, 96)
) -> list[Image.Image]:
    """Draw frames of one shape that moves `left`, `right`, `up` or `down` over a white image."""
    across, down = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[direction]
    scene = _simple_scene(shape, color, "white")
    frames = []
    for i in range(count):
        step = 0.3 * (2 * i / max(1, count - 1) - 1)
        thing = replace(scene.things[0], radius=0.15, x=0.5 + step * across, y=0.5 + step * down)
        frames.append(draw(replace(scene, things=(thing,)), size))
    return frames


def _simple_scene(shape: str, color: str, background: str) -> Scene:
    thing = Thing(shape, color, COLORS[color][0], 0.5, 0.5, 0.3)
    return Scene(background, COLORS[background][0], (thing,))
