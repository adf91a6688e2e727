"""Tiles of 96 pixels, as the image processor cuts them, and the dense labels of their patches."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension

from scripts.tiny.world import COLORS, NUMBER, SHAPES, Point, Scene, Size, digit_boxes, outline

TILE = 96
PATCH = 12
SIDE = TILE // PATCH  # patches along one side of a tile
# (height, width). No 2 x 2 grid on purpose: a square image then costs one extra tile, not four.
PINPOINTS = [[96, 96], [96, 192], [192, 96], [96, 288], [288, 96]]
PADDING = 127  # what several images are squared with

Pixels = npt.NDArray[np.uint8]  # (tiles, height, width, 3)


@dataclass(frozen=True, slots=True)
class View:
    """Where an image lands on one tile: tile = image * scale - offset, in pixels, (x, y)."""

    scale: Point
    offset: Point
    is_whole: bool = True  # the tile shows all of the image

    def place(self, point: Point) -> Point:
        """Map a point of the image to the tile."""
        return (
            point[0] * self.scale[0] - self.offset[0],
            point[1] * self.scale[1] - self.offset[1],
        )


@dataclass(frozen=True, slots=True)
class TiledImage:
    """The tiles of one image: their pixels, and for each where the image lies on it."""

    pixels: Pixels
    views: tuple[View, ...]


def frame(image: Image.Image) -> TiledImage:
    """Squash a frame of a video onto one tile."""
    view = View((TILE / image.width, TILE / image.height), (0.0, 0.0))
    return TiledImage(_array(_resized(image, (TILE, TILE)))[None], (view,))


def one_of_several(image: Image.Image) -> TiledImage:
    """Square an image with gray and scale it onto one tile."""
    side = max(image.size)
    left, top = (side - image.width) // 2, (side - image.height) // 2
    squared = Image.new("RGB", (side, side), (PADDING,) * 3)
    squared.paste(image, (left, top))
    scale = TILE / side
    view = View((scale, scale), (-left * scale, -top * scale))
    return TiledImage(_array(_resized(squared, (TILE, TILE)))[None], (view,))


def single(image: Image.Image) -> TiledImage:
    """Squash the whole image onto a base tile, then cut the tiles of its best grid."""
    base = frame(image)
    height, width = select_best_resolution((image.height, image.width), PINPOINTS)
    blank = np.broadcast_to(np.uint8(0), (3, image.height, image.width))
    new_height, new_width = get_patch_output_size(  # type: ignore[no-untyped-call]
        blank, (height, width), ChannelDimension.FIRST
    )
    left, top = (width - new_width) // 2, (height - new_height) // 2
    canvas = Image.new("RGB", (width, height))
    canvas.paste(_resized(image, (new_width, new_height)), (left, top))
    array = _array(canvas)
    pixels, views = [base.pixels[0]], [base.views[0]]
    scale = (new_width / image.width, new_height / image.height)
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            pixels.append(array[y : y + TILE, x : x + TILE])
            views.append(View(scale, (x - left, y - top), is_whole=False))
    return TiledImage(np.stack(pixels), tuple(views))


def _resized(image: Image.Image, size: Size) -> Image.Image:
    return image.resize(size, Image.Resampling.BICUBIC)


def _array(image: Image.Image) -> Pixels:
    return np.asarray(image, dtype=np.uint8)


PATCHES = SIDE * SIDE
CLASSES = ("nothing", *SHAPES, *"0123456789")
COLOR_NAMES = tuple(COLORS)
CHANGES = ("same", "appeared", "vanished", "shape", "color")
UNKNOWN = -100  # ignored by the loss
_OUTSIDE = 255
_LEAST_SHARE = 0.1  # of a patch, for a thing to be what it shows


@dataclass(frozen=True, slots=True)
class Part:
    """A shape or one digit, as it lands on a tile."""

    label: int
    color: int
    cell: int
    polygon: list[Point]

    @property
    def box(self) -> tuple[float, float, float, float]:
        xs, ys = [x for x, _ in self.polygon], [y for _, y in self.polygon]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, slots=True)
class DenseLabels:
    """Labels of one tile's 64 patches, int64 but for `where`.

    `cell` is where in the whole image the thing stands, 0 to 8; `centre` is 1 on the one patch
    that holds its centre.
    """

    what: npt.NDArray[np.int64]
    color: npt.NDArray[np.int64]
    background: npt.NDArray[np.int64]
    cell: npt.NDArray[np.int64]
    centre: npt.NDArray[np.int64]
    where: npt.NDArray[np.float32]  # (64, 4): offset to the part's centre, its width and height


def dense_labels(scene: Scene, size: Size, view: View) -> DenseLabels:
    """Label the patches of the tile that `view` cuts from `scene` drawn at `size`."""
    parts = [part for part in _parts(scene, size, view) if _touches(part)]
    owner = _owner(parts, size, view)
    known = np.array([CLASSES.index("nothing"), *(part.label for part in parts)])
    colors = np.array([UNKNOWN, *(part.color for part in parts)])
    outside = owner == _OUTSIDE
    owner = np.where(outside, 0, owner)
    background = COLOR_NAMES.index(scene.background)
    cells = np.array([UNKNOWN, *(part.cell if view.is_whole else UNKNOWN for part in parts)])
    where = _where(parts)[owner, np.arange(PATCHES)]
    is_centre = (owner > 0) & (np.abs(where[:, :2]) <= PATCH / TILE / 2).all(1)
    return DenseLabels(
        what=np.where(outside, UNKNOWN, known[owner]),
        color=np.where(outside, UNKNOWN, colors[owner]),
        background=np.where(outside, UNKNOWN, background),
        cell=np.where(outside, UNKNOWN, cells[owner]),
        centre=np.where(outside, UNKNOWN, is_centre),
        where=where,
    )


def differences(before: DenseLabels, after: DenseLabels) -> npt.NDArray[np.int64]:
    """Label the change of each patch, as indices into `CHANGES`."""
    conditions = [
        (before.what == UNKNOWN) | (after.what == UNKNOWN),
        (before.what == 0) & (after.what > 0),
        (before.what > 0) & (after.what == 0),
        before.what != after.what,
        before.color != after.color,
    ]
    return np.select(conditions, [UNKNOWN, 1, 2, 3, 4], default=0)


def _parts(scene: Scene, size: Size, view: View) -> list[Part]:
    parts = []
    for thing in scene.things:
        color, cell = COLOR_NAMES.index(thing.color), 3 * thing.row + thing.column
        if thing.shape == NUMBER:
            for digit, (left, top, right, bottom) in zip(
                thing.text, digit_boxes(thing, size), strict=True
            ):
                corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
                polygon = [view.place(corner) for corner in corners]
                parts.append(Part(CLASSES.index(digit), color, cell, polygon))
        else:
            polygon = [view.place(corner) for corner in outline(thing, size)]
            parts.append(Part(CLASSES.index(thing.shape), color, cell, polygon))
    return parts


def _touches(part: Part) -> bool:
    left, top, right, bottom = part.box
    return left < TILE and top < TILE and right > 0 and bottom > 0


def _owner(parts: list[Part], size: Size, view: View) -> npt.NDArray[np.int64]:
    """Which part (from 1) fills each patch most; 0 for none, 255 outside of the image."""
    canvas = Image.new("L", (TILE, TILE), _OUTSIDE)
    pen = ImageDraw.Draw(canvas)
    left, top = view.place((0.0, 0.0))
    right, bottom = view.place((float(size[0]), float(size[1])))
    pen.rectangle((round(left), round(top), round(right) - 1, round(bottom) - 1), fill=0)
    for i, part in enumerate(parts, start=1):
        pen.polygon(part.polygon, fill=i)
    grid = np.asarray(canvas).reshape(SIDE, PATCH, SIDE, PATCH)
    blocks = grid.swapaxes(1, 2).reshape(PATCHES, PATCH * PATCH)
    shares = np.stack(
        [(blocks == i).mean(1) for i in range(1, len(parts) + 1)] or [[0.0] * PATCHES]
    )
    owner = np.where(shares.max(0) >= _LEAST_SHARE, shares.argmax(0) + 1, 0)
    return np.where((blocks == _OUTSIDE).mean(1) > 0.5, _OUTSIDE, owner)


def _where(parts: list[Part]) -> npt.NDArray[np.float32]:
    """(parts + 1, 64, 4), in tiles; zeros for no part."""
    table = np.zeros((len(parts) + 1, PATCHES, 4), dtype=np.float32)
    steps = (np.arange(SIDE) + 0.5) * PATCH
    for i, part in enumerate(parts, start=1):
        left, top, right, bottom = part.box
        table[i, :, 0] = ((left + right) / 2 - np.tile(steps, SIDE)) / TILE
        table[i, :, 1] = ((top + bottom) / 2 - np.repeat(steps, SIDE)) / TILE
        table[i, :, 2:] = (right - left) / TILE, (bottom - top) / TILE
    return table
