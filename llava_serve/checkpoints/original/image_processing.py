"""Image processing as LLaVA's own code does it: transformers' PIL processors, set up to agree.

Source: haotian-liu/LLaVA@c121f04 and LLaVA-VL/LLaVA-NeXT@df17966, llava/mm_utils.py
::process_images, process_anyres_image, expand2square.
"""

import ast
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from llava_serve.checkpoints.original.packing import Packing
from llava_serve.checkpoints.original.tower import VisionTower
from llava_serve.checkpoints.resolve import OriginalCheckpoint
from llava_serve.checkpoints.settings import REMEDY, quoted
from llava_serve.errors import CheckpointError

_ASPECTS = re.compile(r"square|pad|anyres|anyres_max_\d+")


@dataclass(frozen=True, slots=True)
class FrameProcessor:
    """Makes one tile of each frame of a video, as `square` does it, without padding."""

    square: LlavaImageProcessorPil

    def __call__(self, images: list[Image.Image]) -> torch.Tensor:
        """Return float32 (frames, 3, height, width), normalised."""
        values: torch.Tensor = self.square(images, return_tensors="pt")["pixel_values"]
        return values


@dataclass(frozen=True, slots=True)
class ImageProcessing:
    """One checkpoint's preprocessing and packing; `processor` is one of transformers' classes."""

    processor: Any
    square: LlavaImageProcessorPil  # for frames of videos
    packing: Packing

    def tiles(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (tiles, 3, height, width), normalised; the whole image comes first."""
        values = self.processor([image])["pixel_values"][0]
        return torch.from_numpy(np.array(values if self.packing.is_tiled else values[None]))

    @property
    def frames(self) -> FrameProcessor:
        """What makes tiles of the frames of a video."""
        return FrameProcessor(self.square)


def image_processing_of(
    checkpoint: OriginalCheckpoint, tower: VisionTower, aspect: str | None
) -> ImageProcessing:
    """Read LLaVA's config.json; `aspect` takes the place of its `image_aspect_ratio`.

    Raises:
        CheckpointError: it asks for a way that is not known.
    """
    config = checkpoint.config
    if (resampler := config.mm_resampler_type) not in (None, "spatial_pool"):
        raise CheckpointError(
            f"{checkpoint.path} says mm_resampler_type {resampler!r}: a resampler does not load."
        )
    aspect = aspect or config.image_aspect_ratio or "square"
    if not _ASPECTS.fullmatch(aspect):
        raise CheckpointError(
            f"image_aspect_ratio is {aspect!r}; square, pad, anyres and anyres_max_N load."
        )
    packing = Packing(
        merge=config.mm_patch_merge_type or "flat",
        aspect=aspect,
        canvases=_canvases(checkpoint, tower) if aspect.startswith("anyres") else [],
        tile=tower.tile,
        side=tower.side,
        position=config.mm_newline_position or "one_token",
        pool=config.mm_spatial_pool_mode,
    )
    if packing.is_tiled and packing.merge != "flat" and tower.has_class_token:
        raise CheckpointError(
            f"{checkpoint.path} says mm_vision_select_feature cls_patch, and a class token has no "
            f"place among the tiles of {aspect}; patch goes with it."
        )
    square = LlavaImageProcessorPil(**_settings(tower), do_pad=False)
    return ImageProcessing(_processor(packing, tower), square, packing)


def _processor(packing: Packing, tower: VisionTower) -> Any:
    settings = _settings(tower)
    if not packing.is_tiled:
        return LlavaImageProcessorPil(**settings, do_pad=packing.aspect == "pad")
    tiling = LlavaOnevisionImageProcessorPil if tower.is_siglip else LlavaNextImageProcessorPil
    return tiling(**settings, image_grid_pinpoints=packing.canvases)


def _settings(tower: VisionTower) -> dict[str, Any]:
    """CLIP crops the middle of an image, SigLIP squeezes it into the square."""
    length = tower.tile
    square = {"height": length, "width": length}
    settings: dict[str, Any] = {"image_mean": list(tower.mean), "image_std": list(tower.std)}
    if tower.is_siglip:
        return settings | {"size": square, "do_center_crop": False}
    fitted = {"size": {"shortest_edge": length}, "crop_size": square, "do_center_crop": True}
    return settings | fitted


def _canvases(checkpoint: OriginalCheckpoint, tower: VisionTower) -> list[list[int]]:
    """Return the (height, width) of each canvas, in the order that decides between equal ones.

    The original list has (width, height) in pixels, or a range of tiles as in "(1x1),...,(6x6)".
    """
    listed: Any = checkpoint.config.image_grid_pinpoints
    if isinstance(listed, str) and "x" in listed:
        listed = _range(listed, tower.tile) or listed
    elif isinstance(listed, str):
        with suppress(ValueError, SyntaxError, TypeError):
            listed = ast.literal_eval(listed)
    if not listed:
        raise CheckpointError(f"{checkpoint.path} has no image_grid_pinpoints, which anyres needs.")
    if not (isinstance(listed, list | tuple) and all(_is_canvas(each, tower) for each in listed)):
        raise CheckpointError(
            f"{checkpoint.path} says image_grid_pinpoints {quoted(listed)}, which must be a list "
            f"of [width, height] in pixels, each a multiple of {tower.tile}, a side of one tile, "
            f'or a range of tiles such as "(1x1),...,(6x6)". {REMEDY}'
        )
    return [[height, width] for width, height in listed]


def _range(text: str, tile: int) -> list[list[int]]:
    corners = [(int(a), int(b)) for a, b in re.findall(r"\((\d+)x(\d+)\)", text)]
    if not corners:
        return []
    (from_width, from_height), (to_width, to_height) = corners[0], corners[-1]
    widths, heights = range(from_width, to_width + 1), range(from_height, to_height + 1)
    return [[width * tile, height * tile] for width, height in product(widths, heights)]


def _is_canvas(pair: Any, tower: VisionTower) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(type(length) is int and length > 0 and not length % tower.tile for length in pair)
    )
