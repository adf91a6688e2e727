"""How much of the machine an engine takes: slots, KV cache, kept features, chunk of a prompt."""

import logging
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.cache import bytes_per_token

logger = logging.getLogger(__name__)

_KV_SHARE = 0.5  # of the memory that is free once the weights are loaded
_MOST_SLOTS = 16
_SLOT_TOKENS = 2048  # that the cache has at least for each slot
_FEATURE_SHARE = 0.05
_MOST_FEATURE_BYTES = 2 * 2**30
_CHUNK_ALONE = 2048  # tokens: more at once is no faster, and a client who leaves would wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the engine may hold.

    Attributes:
        slots: answers that are made at once.
        kv_tokens: tokens in the KV cache, of running requests and of kept prefixes together.
        feature_bytes: memory for the feature rows of pictures seen before.
        chunk: tokens of prompts that a step reads beside running answers; None for what the
            machine reads in a tenth of a second.
        chunk_alone: the same while nobody is answering.
    """

    slots: int
    kv_tokens: int
    feature_bytes: int
    chunk: int | None = None
    chunk_alone: int = _CHUNK_ALONE


def choose_budget(
    loaded: LoadedModel,
    *,
    slots: int | None = None,
    chunk: int | None = None,
    kv_tokens: int | None = None,
) -> Budget:
    """Fill in what the flags leave open, from the memory that is free now.

    As many slots as half of the free memory has room for, up to a limit; a KV cache in which every
    slot can fill its context, and as much again for kept prefixes, but no more than that half.
    """
    model: Any = loaded.model
    config = model.config.get_text_config(decoder=True)
    each = bytes_per_token(config, model.dtype)
    free = _free_bytes(model.device)
    affordable = int(free * _KV_SHARE) // each
    if slots is None:
        least = min(_SLOT_TOKENS, loaded.context_length)
        slots = max(1, min(_MOST_SLOTS, (kv_tokens or affordable) // least))
    if kv_tokens is None:
        wanted = 2 * slots * loaded.context_length
        kv_tokens = min(wanted, affordable)
        why = "for all slots" if kv_tokens == wanted else f"{_KV_SHARE:.0%} of free memory"
    else:
        why = "as --kv-cache-tokens says"
    budget = Budget(
        slots=slots,
        kv_tokens=kv_tokens,
        feature_bytes=min(_MOST_FEATURE_BYTES, int(free * _FEATURE_SHARE)),
        chunk=chunk,
    )
    logger.info(
        "%d slots; KV cache of %d tokens, %.2f GiB (%s); at most %.2f GiB of features",
        slots,
        kv_tokens,
        kv_tokens * each / 2**30,
        why,
        budget.feature_bytes / 2**30,
    )
    return budget


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)
