"""How much memory a checkpoint takes, from the shapes of its weights, before any is read."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from llava_serve.checkpoints.asked import Asked
from llava_serve.checkpoints.weights import Weights
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

Stored = Literal["float32", "16 bits", "8 bits", "4 bits"]

# Bytes of a number; quantised matrices bring scales: one float32 a row in 8 bits, and 0.127 bits a
# number in 4. Source of the latter: Dettmers et al. 2023, QLoRA, section 3 (double quantisation).
_BYTES: dict[Stored, float] = {"float32": 4, "16 bits": 2, "8 bits": 1.01, "4 bits": 0.516}
_PARTS = ("vision_tower", "mm_projector", "multi_modal_projector", "image_newline")
_EMBEDDINGS = ("embed_tokens", "lm_head")


@dataclass(frozen=True, slots=True)
class Size:
    """Numbers in each part of a model.

    `matrices` are the language model's, which quantisation shrinks; `embeddings` are its tables,
    which stay; `vision` is the tower with the projector. `kv_values` is what one token keeps.
    """

    matrices: int
    embeddings: int
    vision: int
    kv_values: int

    def weights_bytes(self, stored: Stored, unquantised: int = 2) -> int:
        """Return the memory of all weights.

        `unquantised` are the bytes of a number in what quantisation leaves alone: all but matrices.
        """
        rest = max(_BYTES[stored], unquantised)
        return int(self.matrices * _BYTES[stored] + (self.embeddings + self.vision) * rest)

    def kv_bytes(self, stored: Stored, tokens: int, unquantised: int = 2) -> int:
        """Return the memory of a KV cache for so many tokens."""
        return int(self.kv_values * tokens * max(_BYTES[stored], unquantised))


def size_of(weights: Weights, text: Any) -> Size:
    """Count the numbers of `weights`, in whatever layout; `text` is the language model's config."""
    parts = {"matrices": 0, "embeddings": 0, "vision": 0}
    for name, weight in weights.items():
        part = "vision" if any(each in name for each in _PARTS) else "matrices"
        part = "embeddings" if any(each in name for each in _EMBEDDINGS) else part
        parts[part] += math.prod(weight.shape)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Size(**parts, kv_values=2 * int(text.num_hidden_layers) * int(heads) * int(head))


def require(size: Size, asked: Asked, context: int, folder: Path) -> None:
    """See that weights and the KV cache of one full context fit into the memory that is free.

    Raises:
        CheckpointError: they do not; the message has the estimate, and what would fit.
    """
    limits = asked.precision.gpu_limits
    free = free_bytes(asked.precision.device) if limits is None else sum(limits.values())
    stored, rest = _stored(asked), asked.precision.dtype.itemsize
    need = size.weights_bytes(stored, rest) + size.kv_bytes(stored, context, rest)
    if need <= free:
        return
    vision = size.vision * rest
    language = size.weights_bytes(stored, rest) - vision
    one, all_ = (size.kv_bytes(stored, context * slots, rest) for slots in (1, asked.slots))
    remedy = _remedy(list(_fitting(size, context, free)))
    raise CheckpointError(
        f"{folder} needs {shown(need)} in {stored} and {asked.precision.place} has {shown(free)} "
        "free: "
        f"{shown(language)} for the language model, {shown(vision)} for the vision tower and "
        f"projector, {shown(one)} for a KV cache of one context of {context} tokens "
        f"({shown(all_)} for all {asked.slots} slots). {remedy}"
    )


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def _stored(asked: Asked) -> Stored:
    if (quantization := asked.precision.quantization) is not None:
        return "4 bits" if quantization.load_in_4bit else "8 bits"
    return "float32" if asked.precision.dtype == torch.float32 else "16 bits"


FLAGS: dict[Stored, str] = {
    "16 bits": "--dtype bfloat16",
    "8 bits": "--load-8bit --dtype bfloat16",
    "4 bits": "--load-4bit --dtype bfloat16",
}


def _fitting(size: Size, context: int, free: int) -> Iterator[str]:
    for stored, flag in FLAGS.items():
        need = size.weights_bytes(stored) + size.kv_bytes(stored, context)
        if need <= free:
            yield f"{flag} ({shown(need)})"


def _remedy(fitting: list[str]) -> str:
    if fitting:
        return f"This would fit: {', '.join(fitting)}."
    return "Not even 4 bits fit: take a smaller model, or a machine with more memory."


def shown(count: int) -> str:
    """Return bytes as people read them."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
