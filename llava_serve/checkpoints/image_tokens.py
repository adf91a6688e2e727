"""How many image tokens a picture of some size becomes, without looking at any picture."""

import math
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.image_processing_utils import select_best_resolution

from llava_serve.checkpoints.original.packing import Packing
from llava_serve.errors import CheckpointError

Size = tuple[int, int]  # (width, height)


def parse_size(text: str) -> Size:
    """Read `640x480`, width first.

    Raises:
        CheckpointError: it is no size.
    """
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise CheckpointError(f"--picture takes a size like 640x480, not {text!r}.")
    return int(width), int(height)


def in_original(packing: Packing, size: Size) -> int:
    """Count by packing rows of nothing as LLaVA's own code packs features."""
    tiles = 1 + math.prod(packing.grid(size)) if packing.is_tiled else 1
    newline = torch.zeros(1) if packing.has_newline else None
    return len(packing.picture(torch.zeros(tiles, packing.side**2, 1), size, newline))


def is_rounding_edge(packing: Packing, size: Size) -> bool:
    """Say whether transformers, which rounds before it cuts, keeps another part of the picture.

    Source: transformers 5.23, models/llava_next/modeling_llava_next.py::unpad_image.
    """
    if not (packing.is_tiled and packing.has_newline):
        return False
    width, height = size
    rows, columns = (tiles * packing.side for tiles in packing.grid(size))
    if width / height > columns / rows:
        kept = height * (columns / width)
    else:
        kept = width * (rows / height)
    return int(kept) != int(round(kept, 7))


def in_huggingface(config: Any, size: Size) -> int:
    """Count by packing rows of nothing as transformers' class for `config` packs features."""
    vision = config.vision_config
    tile = int(vision.image_size)
    patches = (tile // int(vision.patch_size)) ** 2
    pinpoints = getattr(config, "image_grid_pinpoints", None)
    if pinpoints is None:
        strategy = getattr(config, "vision_feature_select_strategy", "default")
        return patches + (strategy == "full" and vision.model_type.startswith("clip"))
    auto_class: Any = AutoModelForImageTextToText
    with torch.device("meta"):
        model = auto_class.from_config(config)
    width, height = size
    canvas = select_best_resolution((height, width), pinpoints)
    tiles = 1 + math.prod(length // tile for length in canvas)
    options = {}
    if config.model_type != "llava_onevision":
        options["vision_feature_select_strategy"] = config.vision_feature_select_strategy
    _, lengths = model.model.pack_image_features(
        [torch.zeros(tiles, patches, 1)],
        [(height, width)],
        image_newline=torch.zeros(1),
        **options,
    )
    return int(lengths[0])
