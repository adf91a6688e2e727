"""Tile layout: which part of an image each tile shows. Geometry of transformers' processors.

Source: transformers 5.23, image_processing_backends.py::PilBackend.resize, image_transforms.py
::center_crop, models/llava/image_processing_pil_llava.py and models/llava_next/
image_processing_pil_llava_next.py.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import ChannelDimension

from llava_serve.protocol.inspection import Padding, Rectangle

Size = tuple[int, int]  # (width, height)
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class TileLayout:
    """An image that is scaled to `resized` and lies on `canvas` at `offset`.

    Rectangles of the image are told in pixels of its `size`. Tiles of the size `tile` cut the
    canvas up, row by row. What lies beside the canvas is cropped.
    """

    size: Size
    resized: Point
    canvas: Size
    offset: Point
    tile: Size

    @property
    def grid(self) -> tuple[int, int]:
        """The (columns, rows) of tiles."""
        return self.canvas[0] // self.tile[0], self.canvas[1] // self.tile[1]

    @property
    def kept(self) -> Rectangle:
        """The part of the image that is on the canvas."""
        return self.shown((0, 0), self.canvas)

    @property
    def padding(self) -> Padding:
        """What of the canvas the image leaves free."""
        (left, top), (right, bottom) = self._ends()
        width, height = self.canvas
        return Padding(
            left=max(left, 0),
            top=max(top, 0),
            right=max(width - right, 0),
            bottom=max(height - bottom, 0),
        )

    def corner(self, index: int) -> Size:
        """Return where on the canvas the tile begins."""
        row, column = divmod(index, self.grid[0])
        return column * self.tile[0], row * self.tile[1]

    def shown(self, corner: Size, size: Size) -> Rectangle:
        """Return the part of the image, in its pixels, that a part of the canvas shows."""
        filled = self.filled(corner, size)
        x, y = (self.size[i] / self.resized[i] for i in (0, 1))
        left, top = (corner[i] - self.offset[i] for i in (0, 1))
        return Rectangle(
            left=(left + filled.left) * x,
            top=(top + filled.top) * y,
            right=(left + filled.right) * x,
            bottom=(top + filled.bottom) * y,
        )

    def filled(self, corner: Size, size: Size) -> Rectangle:
        """Return what of a part of the canvas the image fills, in pixels of this part."""
        (left, top), (right, bottom) = self._ends()

        def within(at: float, axis: int) -> float:
            return min(max(at - corner[axis], 0), size[axis])

        return Rectangle(
            left=within(left, 0),
            top=within(top, 1),
            right=within(right, 0),
            bottom=within(bottom, 1),
        )

    def _ends(self) -> tuple[Point, Point]:
        left, top = self.offset
        return (left, top), (left + self.resized[0], top + self.resized[1])


def whole_layout(processor: Any, size: Size, tile: Size) -> TileLayout:
    """Return the layout of an image that becomes one tile."""
    padded = size
    if hasattr(processor, "pad_to_square") and (processor.do_pad or _is_anyres(processor)):
        padded = (max(size), max(size))
    scaled = _scaled(processor, padded)
    x, y = (scaled[i] / padded[i] for i in (0, 1))
    return TileLayout(
        size=size,
        resized=(size[0] * x, size[1] * y),
        canvas=tile,
        offset=(
            (padded[0] - size[0]) // 2 * x - (scaled[0] - tile[0]) // 2,
            (padded[1] - size[1]) // 2 * y - (scaled[1] - tile[1]) // 2,
        ),
        tile=tile,
    )


def squeezed_layout(size: Size, tile: Size) -> TileLayout:
    """Return the layout of the overview: all of the image, stretched into one tile."""
    return TileLayout(size=size, resized=tile, canvas=tile, offset=(0, 0), tile=tile)


def anyres_layout(processor: Any, size: Size, tile: Size) -> TileLayout:
    """Return the layout of the tiles that are parts of the image."""
    width, height = size
    best = select_best_resolution((height, width), processor.image_grid_pinpoints)
    shape = np.broadcast_to(np.uint8(0), (1, height, width))  # without memory
    fit: Any = get_patch_output_size
    fitted = fit(shape, best, ChannelDimension.FIRST)[::-1]
    canvas = (int(best[1]), int(best[0]))
    offset = ((canvas[0] - fitted[0]) // 2, (canvas[1] - fitted[1]) // 2)
    return TileLayout(size=size, resized=fitted, canvas=canvas, offset=offset, tile=tile)


def _is_anyres(processor: Any) -> bool:
    return hasattr(processor, "image_grid_pinpoints")


def _scaled(processor: Any, size: Size) -> Size:
    """Return the (width, height) that a processor resizes to, before it crops."""
    asked = processor.size
    if not processor.do_resize:
        return size
    if asked.shortest_edge:
        height, width = get_size_with_aspect_ratio(
            size[::-1], asked.shortest_edge, asked.longest_edge
        )
        return width, height
    return asked.width, asked.height
