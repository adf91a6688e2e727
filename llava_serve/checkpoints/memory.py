"""Memory: what a checkpoint takes, by the shapes of its weights, and what a device has free."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import psutil
import torch

from llava_serve.checkpoints.weights import Weights

Stored = Literal["float32", "16 bits", "8 bits", "4 bits"]

# Bytes of a number; quantised matrices bring scales: one float32 a row in 8 bits, and 0.127 bits a
# number in 4. Source of the latter: Dettmers et al. 2023, QLoRA, section 3 (double quantisation).
_BYTES: dict[Stored, float] = {"float32": 4, "16 bits": 2, "8 bits": 1.01, "4 bits": 0.516}
FLAGS: dict[Stored, str] = {
    "16 bits": "--dtype bfloat16",
    "8 bits": "--load-8bit --dtype bfloat16",
    "4 bits": "--load-4bit --dtype bfloat16",
}
_PARTS = ("vision_tower", "mm_projector", "multi_modal_projector", "image_newline")
_EMBEDDINGS = ("embed_tokens", "lm_head")


@dataclass(frozen=True, slots=True)
class ParameterCounts:
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


def count(weights: Weights, text: Any) -> ParameterCounts:
    """Count the numbers of `weights`, in whatever layout; `text` is the language model's config."""
    parts = {"matrices": 0, "embeddings": 0, "vision": 0}
    for name, weight in weights.items():
        part = "vision" if any(each in name for each in _PARTS) else "matrices"
        part = "embeddings" if any(each in name for each in _EMBEDDINGS) else part
        parts[part] += math.prod(weight.shape)
    return ParameterCounts(**parts, kv_values=kv_values_per_token(text))


def kv_heads(text: Any) -> tuple[int, int]:
    """Return how many heads keys and values have, and the size of one; `text` is as above."""
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(heads), int(size)


def kv_values_per_token(text: Any) -> int:
    """Return how many numbers the KV cache keeps of one token, in all layers."""
    heads, size = kv_heads(text)
    return 2 * int(text.num_hidden_layers) * heads * size


def free_bytes(device: torch.device) -> int:
    """Return the memory of a device that nobody holds."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def shown(count: int) -> str:
    """Return bytes as people read them."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
