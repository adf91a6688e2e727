"""What a checkpoint is, and what it will take, said without reading its weights."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llava_serve.checkpoints import huggingface, image_tokens, memory, pictures, prompts
from llava_serve.checkpoints.detect import Found
from llava_serve.checkpoints.image_tokens import Size
from llava_serve.checkpoints.memory import Stored
from llava_serve.checkpoints.original import load as original
from llava_serve.checkpoints.original.config import context_length, model_config, text_config
from llava_serve.checkpoints.original.pictures import pictures_of
from llava_serve.checkpoints.original.source import Source
from llava_serve.checkpoints.original.tower import tower_of
from llava_serve.checkpoints.weights import Weights, open_folder

_STORED: tuple[Stored, ...] = ("float32", "16 bits", "8 bits", "4 bits")
_CHOICES = {**memory.FLAGS, "float32": "--dtype float32", "16 bits": "--dtype bfloat16 or float16"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to say of one checkpoint; `rows` are the image tokens of each size."""

    layout: str
    family: str
    tower: str
    pictures: str
    template: str
    context: int
    stored: str
    numbers: int
    size: memory.Size
    rows: tuple[tuple[Size, int], ...]
    notes: tuple[str, ...] = ()

    def lines(self, slots: int) -> Iterator[str]:
        yield f"layout           {self.layout}"
        yield f"family           {self.family}"
        yield f"vision tower     {self.tower}"
        yield f"pictures         {self.pictures}"
        yield f"template         {self.template}"
        yield f"context          {self.context} tokens"
        yield f"weights          {self.numbers / 1e6:,.1f} million numbers, stored as {self.stored}"
        for stored in _STORED:
            total = self.size.weights_bytes(stored)
            cache = self.size.kv_bytes(stored, self.context)
            yield (
                f"memory           {memory.shown(total)} of weights in {stored} "
                f"({_CHOICES[stored]}), and {memory.shown(cache)} for each of {slots} full contexts"
            )
        for name, device in devices():
            free = memory.free_bytes(device)
            fitting = [
                stored
                for stored in _STORED
                if self.size.weights_bytes(stored) + self.size.kv_bytes(stored, self.context) < free
            ]
            fits = ", ".join(fitting) or "no precision"
            yield f"{name:<16} {memory.shown(free)} free: fits in {fits}"
        for (width, height), count in self.rows:
            yield f"image tokens     {count} for a picture of {width} x {height}"
        yield from (f"note             {note}" for note in self.notes)


def devices() -> Iterator[tuple[str, torch.device]]:
    yield "cpu", torch.device("cpu")
    if torch.cuda.is_available():
        yield "cuda", torch.device("cuda")


def of_original(
    source: Source, conv_mode: str | None, aspect: str | None, sizes: Sequence[Size]
) -> Facts:
    """Look at a checkpoint in LLaVA's layout; sizes are (width, height).

    Raises:
        CheckpointError: it is not one that loads.
    """
    tower = tower_of(source)
    packing = pictures_of(source, tower, aspect).packing
    weights = original.with_tower(original.weights_of(source), tower)
    tokenizer = original.tokenizer_of(source, original.rows_of(weights))
    weights = original.resized(weights, len(tokenizer))
    text = text_config(source, len(tokenizer))
    config = model_config(source, text, tower, packing)
    prompt_format = original.format_of(source, tokenizer, conv_mode, source.folder.name)
    return Facts(
        layout=f"original, {source.part}" + (f" on {source.base}" if source.base else ""),
        family=f"{config.model_type}, language model {text.model_type}: {_shape(text)}",
        tower=f"{tower.name}: {_shape(tower.config)}, {_patches(tower.config)}",
        pictures=f"{packing.aspect}, packed as {packing.merge}"
        + (", and video" if packing.pool else ""),
        template=f"{prompt_format.name}: {prompt_format.reason}",
        context=context_length(source.config),
        stored=_precisions(weights),
        numbers=_numbers(weights),
        size=memory.size_of(weights, text),
        rows=tuple((size, image_tokens.in_original(packing, size)) for size in sizes),
        notes=tuple(
            f"{width} x {height} is a size for which transformers' class keeps another number of "
            "rows than LLaVA's own code: converted, the model answers differently there"
            for width, height in sizes
            if image_tokens.is_rounding_edge(packing, (width, height))
        ),
    )


def of_huggingface(
    given: Found, found: Found, conv_mode: str | None, sizes: Sequence[Size]
) -> Facts:
    """Look at a checkpoint in Hugging Face's layout; sizes are (width, height).

    `found` is the whole model: `given` itself, or the base of the adapter that was given.

    Raises:
        CheckpointError: it is not one that loads.
    """
    config = huggingface.config_of(found)
    text, vision = config.get_text_config(decoder=True), config.vision_config
    tokenizer = prompts.tokenizer_of(found.folder)
    weights = open_folder(found.folder)
    prompt_format = huggingface.format_of(found, config, tokenizer, conv_mode)
    return Facts(
        layout="hf" if given is found else f"hf, adapter on {found.folder}",
        family=f"{found.model_type}, language model {text.model_type}: {_shape(text)}",
        tower=f"{vision.model_type}: {_shape(vision)}, {_patches(vision)}",
        pictures=type(pictures.image_processor(found)).__name__
        + (", and video" if pictures.has_video(found) else ""),
        template=f"{prompt_format.name}: {prompt_format.reason}",
        context=int(text.max_position_embeddings),
        stored=_precisions(weights),
        numbers=_numbers(weights),
        size=memory.size_of(weights, text),
        rows=tuple((size, image_tokens.in_huggingface(config, size)) for size in sizes),
    )


def _shape(config: Any) -> str:
    return f"{config.num_hidden_layers} layers of width {config.hidden_size}"


def _patches(vision: Any) -> str:
    side = int(vision.image_size) // int(vision.patch_size)
    return f"{side} x {side} patches a tile of {vision.image_size} pixels"


def _numbers(weights: Weights) -> int:
    return sum(math.prod(weight.shape) for weight in weights.values())


def _precisions(weights: Weights) -> str:
    sizes = sorted({8 * weight.itemsize for weight in weights.values()}, reverse=True)
    return " and ".join(f"{bits} bits" for bits in sizes)
