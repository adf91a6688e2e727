"""Summaries of checkpoints: what one is, and what memory it takes, without reading its weights."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.image_processing_utils import select_best_resolution

from llava_serve.checkpoints import huggingface, memory, prompts
from llava_serve.checkpoints.memory import Stored
from llava_serve.checkpoints.original import load as original
from llava_serve.checkpoints.original.config import context_length
from llava_serve.checkpoints.original.packing import Packing
from llava_serve.checkpoints.resolve import (
    Checkpoint,
    HuggingFaceCheckpoint,
    OriginalCheckpoint,
)
from llava_serve.checkpoints.weights import Weights, open_folder
from llava_serve.errors import CheckpointError

ImageSize = tuple[int, int]  # (width, height)

_STORED: tuple[Stored, ...] = ("float32", "16 bits", "8 bits", "4 bits")
_CHOICES = {**memory.FLAGS, "float32": "--dtype float32", "16 bits": "--dtype bfloat16 or float16"}


@dataclass(frozen=True, slots=True)
class CheckpointSummary:
    """What there is to say of one checkpoint; `image_tokens` are those of each size."""

    layout: str
    family: str
    tower: str
    images: str
    template: str
    context: int
    weights: Weights
    counts: memory.ParameterCounts
    image_tokens: tuple[tuple[ImageSize, int], ...]
    notes: tuple[str, ...] = ()

    def lines(self, slots: int) -> Iterator[str]:
        numbers = sum(math.prod(weight.shape) for weight in self.weights.values())
        yield f"layout           {self.layout}"
        yield f"family           {self.family}"
        yield f"vision tower     {self.tower}"
        yield f"pictures         {self.images}"
        yield f"template         {self.template}"
        yield f"context          {self.context} tokens"
        yield (
            f"weights          {numbers / 1e6:,.1f} million numbers, stored as "
            f"{_precisions(self.weights)}"
        )
        for stored in _STORED:
            total = self.counts.weights_bytes(stored)
            cache = self.counts.kv_bytes(stored, self.context)
            yield (
                f"memory           {memory.shown(total)} of weights in {stored} "
                f"({_CHOICES[stored]}), and {memory.shown(cache)} for each of {slots} full contexts"
            )
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            free = memory.free_bytes(torch.device(device))
            fitting = [
                stored
                for stored in _STORED
                if self.counts.weights_bytes(stored) + self.counts.kv_bytes(stored, self.context)
                < free
            ]
            fits = ", ".join(fitting) or "no precision"
            yield f"{device:<16} {memory.shown(free)} free: fits in {fits}"
        for (width, height), count in self.image_tokens:
            yield f"image tokens     {count} for a picture of {width} x {height}"
        yield from (f"note             {note}" for note in self.notes)


def inspect(
    checkpoint: Checkpoint, conv_mode: str | None, aspect: str | None, sizes: Sequence[ImageSize]
) -> CheckpointSummary:
    """Look at a checkpoint; `aspect` takes the place of the image_aspect_ratio of LLaVA's layout.

    Raises:
        CheckpointError: it is not one that loads.
    """
    if isinstance(checkpoint, OriginalCheckpoint):
        return _of_original(checkpoint, conv_mode, aspect, sizes)
    return _of_huggingface(checkpoint, conv_mode, sizes)


def _of_original(
    checkpoint: OriginalCheckpoint,
    conv_mode: str | None,
    aspect: str | None,
    sizes: Sequence[ImageSize],
) -> CheckpointSummary:
    parts = original.open_parts(checkpoint, aspect)
    packing, text = parts.images.packing, parts.text
    name = checkpoint.folder.name
    prompt_format = original.format_of(checkpoint, parts.tokenizer, conv_mode, name)
    on_base = f" on {checkpoint.base}" if checkpoint.base else ""
    return CheckpointSummary(
        layout=f"original, {checkpoint.part}{on_base}",
        family=f"{parts.config.model_type}, language model {text.model_type}: {_shape(text)}",
        tower=f"{parts.tower.name}: {_shape(parts.tower.config)}, {_patches(parts.tower.config)}",
        images=f"{packing.aspect}, packed as {packing.merge}"
        + (", and video" if packing.pool else ""),
        template=f"{prompt_format.name}: {prompt_format.reason}",
        context=context_length(checkpoint.config),
        weights=parts.weights,
        counts=memory.count(parts.weights, text),
        image_tokens=tuple((size, _original_tokens(packing, size)) for size in sizes),
        notes=tuple(
            f"{width} x {height} is a size for which transformers' class keeps another number of "
            "rows than LLaVA's own code: converted, the model answers differently there"
            for width, height in sizes
            if _is_rounding_edge(packing, (width, height))
        ),
    )


def _of_huggingface(
    checkpoint: HuggingFaceCheckpoint, conv_mode: str | None, sizes: Sequence[ImageSize]
) -> CheckpointSummary:
    folder = checkpoint.folder
    config = huggingface.config_of(checkpoint)
    text, vision = config.get_text_config(decoder=True), config.vision_config
    tokenizer = prompts.tokenizer_of(folder)
    weights = open_folder(folder)
    prompt_format = huggingface.format_of(checkpoint, config, tokenizer, conv_mode)
    return CheckpointSummary(
        layout="hf" if checkpoint.adapter is None else f"hf, adapter on {folder}",
        family=f"{checkpoint.model_type}, language model {text.model_type}: {_shape(text)}",
        tower=f"{vision.model_type}: {_shape(vision)}, {_patches(vision)}",
        images=type(huggingface.image_processor_of(checkpoint)).__name__
        + (", and video" if huggingface.has_video(checkpoint) else ""),
        template=f"{prompt_format.name}: {prompt_format.reason}",
        context=int(text.max_position_embeddings),
        weights=weights,
        counts=memory.count(weights, text),
        image_tokens=tuple((size, _huggingface_tokens(config, size)) for size in sizes),
    )


def _shape(config: Any) -> str:
    return f"{config.num_hidden_layers} layers of width {config.hidden_size}"


def _patches(vision: Any) -> str:
    side = int(vision.image_size) // int(vision.patch_size)
    return f"{side} x {side} patches a tile of {vision.image_size} pixels"


def _precisions(weights: Weights) -> str:
    sizes = sorted({8 * weight.itemsize for weight in weights.values()}, reverse=True)
    return " and ".join(f"{bits} bits" for bits in sizes)


def parse_size(text: str) -> ImageSize:
    """Read `640x480`, width first.

    Raises:
        CheckpointError: it is no size.
    """
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise CheckpointError(f"--picture takes a size like 640x480, not {text!r}.")
    return int(width), int(height)


def _original_tokens(packing: Packing, size: ImageSize) -> int:
    """Count by packing rows of nothing as LLaVA's own code packs features."""
    tiles = 1 + math.prod(packing.grid(size)) if packing.is_tiled else 1
    newline = torch.zeros(1) if packing.has_newline else None
    return len(packing.pack_image(torch.zeros(tiles, packing.side**2, 1), size, newline))


def _is_rounding_edge(packing: Packing, size: ImageSize) -> bool:
    """Say whether transformers, which rounds before it cuts, keeps another part of the image.

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


def _huggingface_tokens(config: Any, size: ImageSize) -> int:
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
