"""Feature rows that an image or a video of some size takes in a prompt; its pixels are not read."""

from functools import lru_cache

import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import Size, family_of, on_device, project
from llava_serve.engines.torch.feature_count import FeatureCounter
from llava_serve.engines.torch.tile_layout import anyres_layout

_REMEMBERED = 4096  # sizes


class FeatureRows:
    """Counts as serving does, for one checkpoint. The vision tower runs once, on one tile."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._counter = FeatureCounter(loaded)
        side = int(loaded.model.config.vision_config.image_size)
        with torch.inference_mode():
            tile = torch.zeros(1, 3, side, side)
            self._patches = project(loaded, on_device(loaded, tile)).shape[1]
        self._of_image = lru_cache(_REMEMBERED)(self._count_image)
        self._of_video = lru_cache(_REMEMBERED)(self._count_video)

    def of_image(self, size: Size, *, is_alone: bool) -> int:
        """Count those of an image of (width, height); `is_alone`: no other is in the prompt."""
        return self._of_image(size, is_alone)

    def of_video(self, frames: int) -> int:
        """Count those of a video of so many frames."""
        return self._of_video(frames)

    def _count_image(self, size: Size, is_alone: bool) -> int:
        tiles = tiles_of(self._loaded, size, is_alone=is_alone)
        return self._counter.of_image(tiles, self._patches, size).total

    def _count_video(self, frames: int) -> int:
        return self._counter.of_video(frames, self._patches).total


def tiles_of(loaded: LoadedModel, size: Size, *, is_alone: bool) -> int:
    """Count the tiles of an image of (width, height); `is_alone` as in `FeatureRows`."""
    if not family_of(loaded).is_tiled(loaded, is_alone):
        return 1
    if loaded.original is not None:
        rows, columns = loaded.original.packing.grid(size)
    else:
        side = int(loaded.model.config.vision_config.image_size)
        columns, rows = anyres_layout(loaded.image_processor, size, (side, side)).grid
    return 1 + columns * rows
