"""How an original checkpoint wants its pictures: transformers' PIL processors, set up to agree.

Source: haotian-liu/LLaVA@c121f04 and LLaVA-VL/LLaVA-NeXT@df17966, llava/mm_utils.py
::process_images, process_anyres_image, expand2square.
"""

import ast
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

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

from llava_serve.checkpoints.original.packing import Merge, NewlinePosition, Packing, Pool
from llava_serve.checkpoints.original.source import Source
from llava_serve.checkpoints.original.tower import Tower
from llava_serve.checkpoints.settings import REMEDY, is_pair, quoted
from llava_serve.errors import CheckpointError

_ASPECTS = re.compile(r"square|pad|anyres|anyres_max_\d+")


@dataclass(frozen=True, slots=True)
class Pictures:
    """One checkpoint's preprocessing and packing; `processor` is one of transformers' classes."""

    processor: Any
    square: LlavaImageProcessorPil  # frames of clips: one tile each, without padding
    packing: Packing

    def tiles(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (tiles, 3, height, width), normalised; the whole picture comes first."""
        values = self.processor([image])["pixel_values"][0]
        return torch.from_numpy(np.array(values if self.packing.is_tiled else values[None]))

    def frames(self, images: list[Image.Image]) -> torch.Tensor:
        """Return float32 (frames, 3, height, width), normalised."""
        values: torch.Tensor = self.square(images, return_tensors="pt")["pixel_values"]
        return values


def pictures_of(source: Source, tower: Tower, aspect: str | None) -> Pictures:
    """Read LLaVA's config.json; `aspect` takes the place of its `image_aspect_ratio`.

    Raises:
        CheckpointError: it asks for a way that is not known.
    """
    config = source.config
    if (resampler := config.get("mm_resampler_type")) not in (None, "spatial_pool"):
        raise CheckpointError(
            f"{source.path} says mm_resampler_type {resampler!r}: a resampler does not load."
        )
    aspect = aspect or str(config.get("image_aspect_ratio") or "square")
    if not _ASPECTS.fullmatch(aspect):
        raise CheckpointError(
            f"image_aspect_ratio is {aspect!r}; square, pad, anyres and anyres_max_N load."
        )
    packing = Packing(
        merge=_one_of(Merge, source, "mm_patch_merge_type", "flat"),
        aspect=aspect,
        canvases=_canvases(source, tower) if aspect.startswith("anyres") else [],
        tile=tower.tile,
        side=tower.side,
        position=_one_of(NewlinePosition, source, "mm_newline_position", "one_token"),
        pool=_one_of(Pool, source, "mm_spatial_pool_mode", None),
    )
    if packing.is_tiled and packing.merge != "flat" and tower.has_class_token:
        raise CheckpointError(
            f"{source.path} says mm_vision_select_feature cls_patch, and a class token has no "
            f"place among the tiles of {aspect}; patch goes with it."
        )
    square = LlavaImageProcessorPil(**_settings(tower), do_pad=False)
    return Pictures(_processor(packing, tower), square, packing)


def _processor(packing: Packing, tower: Tower) -> Any:
    settings = _settings(tower)
    if not packing.is_tiled:
        return LlavaImageProcessorPil(**settings, do_pad=packing.aspect == "pad")
    tiling = LlavaOnevisionImageProcessorPil if tower.is_siglip else LlavaNextImageProcessorPil
    return tiling(**settings, image_grid_pinpoints=packing.canvases)


def _settings(tower: Tower) -> dict[str, Any]:
    """CLIP crops the middle of a picture, SigLIP squeezes it into the square."""
    length = tower.tile
    square = {"height": length, "width": length}
    settings: dict[str, Any] = {"image_mean": list(tower.mean), "image_std": list(tower.std)}
    if tower.is_siglip:
        return settings | {"size": square, "do_center_crop": False}
    return settings | {
        "size": {"shortest_edge": length},
        "crop_size": square,
        "do_center_crop": True,
    }


def _canvases(source: Source, tower: Tower) -> list[list[int]]:
    """Return the (height, width) of each canvas, in the order that decides between equal ones.

    The original list has (width, height) in pixels, or a range of tiles as in "(1x1),...,(6x6)".
    """
    listed = source.config.get("image_grid_pinpoints")
    if isinstance(listed, str) and "x" in listed:
        listed = _range(listed, tower.tile) or listed
    elif isinstance(listed, str):
        with suppress(ValueError, SyntaxError, TypeError):
            listed = ast.literal_eval(listed)
    if not listed:
        raise CheckpointError(f"{source.path} has no image_grid_pinpoints, which anyres needs.")
    if not (isinstance(listed, list | tuple) and all(_is_canvas(each, tower) for each in listed)):
        raise CheckpointError(
            f"{source.path} says image_grid_pinpoints {quoted(listed)}, which must be a list of "
            f"[width, height] in pixels, each a multiple of {tower.tile}, a side of one tile, or a "
            f'range of tiles such as "(1x1),...,(6x6)". {REMEDY}'
        )
    return [[height, width] for width, height in listed]


def _range(text: str, tile: int) -> list[list[int]]:
    corners = [(int(a), int(b)) for a, b in re.findall(r"\((\d+)x(\d+)\)", text)]
    if not corners:
        return []
    (from_width, from_height), (to_width, to_height) = corners[0], corners[-1]
    return [
        [width * tile, height * tile]
        for width in range(from_width, to_width + 1)
        for height in range(from_height, to_height + 1)
    ]


def _is_canvas(pair: Any, tower: Tower) -> bool:
    return is_pair(pair) and not any(length % tower.tile for length in pair)


def _one_of(choices: Any, source: Source, key: str, default: str | None) -> Any:
    value = source.config.get(key) or default
    if value not in (default, *get_args(choices)):
        raise CheckpointError(
            f"{source.path} says {key} {value!r}; known: {', '.join(get_args(choices))}."
        )
    return value
