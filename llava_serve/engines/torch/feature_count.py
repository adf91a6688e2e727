"""Feature rows of images and videos, counted by packing labels in place of the tower's features."""

from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import Size, family_of, newline_of


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of each tile or frame, and newlines."""

    tiles: list[int]
    newlines: int

    @property
    def total(self) -> int:
        return sum(self.tiles) + self.newlines


class FeatureCounter:
    """Counts rows for one model, with the code that packs its features; the tower does not run."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._family = family_of(loaded)

    def of_image(self, tiles: int, patches: int, size: Size) -> RowCounts:
        """Count those of an image of (width, height) in so many tiles of so many patches."""
        features, newline = self._labels(tiles, patches)
        return _counted(self._family.pack(self._loaded, features, size, newline))

    def of_video(self, frames: int, patches: int) -> RowCounts:
        """Count those of a video of so many frames, each of so many patches."""
        if self._loaded.original is not None:
            features, newline = self._labels(frames, patches)
            return _counted(self._loaded.original.packing.pack_video(features, newline))
        one, two = self._video_rows
        return RowCounts([two - one] * frames, 2 * one - two)

    def _labels(self, tiles: int, patches: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return features, (tiles, patches, tiles + 1), that say whose they are, and a newline."""
        labels = torch.eye(tiles + 1)
        features = labels[:tiles, None].expand(-1, patches, -1)
        return features, None if newline_of(self._loaded) is None else labels[tiles]

    @cached_property
    def _video_rows(self) -> tuple[int, int]:
        """Rows of one frame and of two, by transformers' own class, whose weights are nowhere."""
        config = deepcopy(self._loaded.model.config)  # a model may write into it
        side = config.vision_config.image_size
        make: Any = type(self._loaded.model)
        with torch.device("meta"), torch.inference_mode():
            model = make(config).float()  # parts of it alone would be made in the config's dtype
            one, two = (
                model.get_video_features(
                    pixel_values_videos=torch.empty(1, frames, 3, side, side), return_dict=True
                ).pooler_output.shape[1]
                for frames in (1, 2)
            )
        return int(one), int(two)


def _counted(rows: torch.Tensor) -> RowCounts:
    *tiles, newlines = torch.bincount(rows.argmax(-1), minlength=rows.shape[-1]).tolist()
    return RowCounts(tiles, newlines)
