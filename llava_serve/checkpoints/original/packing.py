"""Packing of image features: rows of tiles and frames in the order that LLaVA's own code has.

Source: haotian-liu/LLaVA@c121f04 and LLaVA-VL/LLaVA-NeXT@df17966, llava/model/llava_arch.py
::prepare_inputs_labels_for_multimodal, unpad_image, get_2dPool, add_token_per_grid,
add_token_per_frame.
"""

import math
import re
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers.image_processing_utils import select_best_resolution

from llava_serve.checkpoints.settings import Merge, NewlinePosition, Pool

_STRIDE = 2  # of frames: every second patch in both directions
_SHRINKS_FROM = 1.1  # times the most rows that anyres_max_N allows


@dataclass(frozen=True, slots=True)
class Packing:
    """How tiles become the rows of one image.

    `side` is the patches along a tile's side, `canvases` the (height, width) in pixels that an
    image may be fitted into, `tile` a tile's side in pixels. `aspect` is LLaVA's
    `image_aspect_ratio`. `pool` is None for a model without video.
    """

    merge: Merge
    aspect: str
    canvases: list[list[int]]
    tile: int
    side: int
    position: NewlinePosition
    pool: Pool | None

    @property
    def is_tiled(self) -> bool:
        return self.aspect.startswith("anyres")

    @property
    def has_newline(self) -> bool:
        return self.merge == "spatial_unpad"

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (rows, columns) of tiles that an image of (width, height) is fitted into."""
        width, height = size
        canvas = select_best_resolution((height, width), self.canvases)
        return canvas[0] // self.tile, canvas[1] // self.tile

    def pack_image(
        self, tiles: torch.Tensor, size: tuple[int, int], newline: torch.Tensor | None
    ) -> torch.Tensor:
        """Pack one image.

        Args:
            tiles: (tiles, patches, hidden), the whole image first.
            size: the image's (width, height) in pixels.
            newline: (hidden,), where the merge type has it.

        Returns:
            (rows, hidden).
        """
        if self.merge == "flat":
            return tiles.flatten(0, 1)
        if len(tiles) == 1:
            return _ended(tiles[0], newline)
        rows, columns = self.grid(size)
        plane = tiles[1:].reshape(rows, columns, self.side, self.side, -1)
        if newline is None:
            return torch.cat([tiles[0], plane.transpose(1, 2).flatten(0, 3)])
        plane = plane.permute(4, 0, 2, 1, 3).flatten(3, 4).flatten(1, 2)  # (hidden, height, width)
        plane = self._shrunk(unpadded(plane, size))
        return torch.cat([tiles[0], _lined(plane.permute(1, 2, 0), newline)])

    def pack_video(self, frames: torch.Tensor, newline: torch.Tensor | None) -> torch.Tensor:
        """Pack the frames of one video: (frames, patches, hidden) to (rows, hidden)."""
        pooled = self._pooled(frames)  # (frames, height, width, hidden)
        if self.merge == "flat" or newline is None or self.position == "no_token":
            return pooled.flatten(0, 2)
        if self.position == "grid":
            return _lined(pooled.flatten(0, 1), newline)
        if self.position == "frame":
            return _lined(pooled.flatten(1, 2), newline)
        return _ended(pooled.flatten(0, 2), newline)

    def _shrunk(self, plane: torch.Tensor) -> torch.Tensor:
        """Keep (hidden, height, width) below what `anyres_max_N` allows: N tiles."""
        if (most := re.fullmatch(r"anyres_max_(\d+)", self.aspect)) is None:
            return plane
        _, height, width = plane.shape
        times = math.sqrt(height * width / (int(most[1]) * self.side**2))
        if times <= _SHRINKS_FROM:
            return plane
        size = [int(height // times), int(width // times)]
        return functional.interpolate(plane[None], size, mode="bilinear")[0]

    def _pooled(self, frames: torch.Tensor) -> torch.Tensor:
        plane = frames.reshape(len(frames), self.side, self.side, -1).permute(0, 3, 1, 2)
        if self.pool == "average":
            plane = functional.avg_pool2d(plane, _STRIDE)
        elif self.pool == "max":
            plane = functional.max_pool2d(plane, _STRIDE)
        else:
            length = math.ceil(self.side / _STRIDE)
            plane = functional.interpolate(plane.contiguous(), [length, length], mode="bilinear")
        return plane.permute(0, 2, 3, 1)


def unpadded(plane: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut what padding added off (hidden, height, width); `size` is the image's (width, height).

    The length that remains is cut to an integer where transformers rounds it first, which makes a
    difference of a row for some sizes, 205 x 656 pixels for one.
    """
    width, height = size
    _, rows, columns = plane.shape
    if width / height > columns / rows:
        kept = int(height * (columns / width))
        margin = (rows - kept) // 2
        return plane[:, margin : rows - margin]
    kept = int(width * (rows / height))
    margin = (columns - kept) // 2
    return plane[:, :, margin : columns - margin]


def _lined(plane: torch.Tensor, newline: torch.Tensor) -> torch.Tensor:
    """End each line of (lines, length, hidden) with the newline; returns (rows, hidden)."""
    ends = newline.to(plane).expand(len(plane), 1, -1)
    return torch.cat([plane, ends], dim=1).flatten(0, 1)


def _ended(rows: torch.Tensor, newline: torch.Tensor | None) -> torch.Tensor:
    return rows if newline is None else torch.cat([rows, newline.to(rows)[None]])
