"""How a picture becomes tiles of 96 pixels, exactly as the image processor would make them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension

from scripts.tiny.world import Point, Size

TILE = 96
PATCH = 12
SIDE = TILE // PATCH  # patches along one side of a tile
# (height, width). No 2 x 2 grid on purpose: a square picture then costs one extra tile, not four.
PINPOINTS = [[96, 96], [96, 192], [192, 96], [96, 288], [288, 96]]
PADDING = 127  # what several pictures are squared with

Pixels = npt.NDArray[np.uint8]  # (tiles, height, width, 3)


@dataclass(frozen=True, slots=True)
class View:
    """Where a picture lands on one tile: tile = picture * scale - offset, in pixels, (x, y)."""

    scale: Point
    offset: Point
    is_whole: bool = True  # the tile shows all of the picture

    def place(self, point: Point) -> Point:
        return (
            point[0] * self.scale[0] - self.offset[0],
            point[1] * self.scale[1] - self.offset[1],
        )


@dataclass(frozen=True, slots=True)
class Tiled:
    """The tiles of one picture: their pixels, and for each where the picture lies on it."""

    pixels: Pixels
    views: tuple[View, ...]


def frame(image: Image.Image) -> Tiled:
    """Squash a frame of a clip onto one tile."""
    view = View((TILE / image.width, TILE / image.height), (0.0, 0.0))
    return Tiled(_array(_resized(image, (TILE, TILE)))[None], (view,))


def one_of_several(image: Image.Image) -> Tiled:
    """Square a picture with gray and scale it onto one tile."""
    side = max(image.size)
    left, top = (side - image.width) // 2, (side - image.height) // 2
    squared = Image.new("RGB", (side, side), (PADDING,) * 3)
    squared.paste(image, (left, top))
    scale = TILE / side
    view = View((scale, scale), (-left * scale, -top * scale))
    return Tiled(_array(_resized(squared, (TILE, TILE)))[None], (view,))


def single(image: Image.Image) -> Tiled:
    """The whole picture squashed onto a base tile, then the tiles of its best grid."""
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
    return Tiled(np.stack(pixels), tuple(views))


def _resized(image: Image.Image, size: Size) -> Image.Image:
    return image.resize(size, Image.Resampling.BICUBIC)


def _array(image: Image.Image) -> Pixels:
    return np.asarray(image, dtype=np.uint8)
