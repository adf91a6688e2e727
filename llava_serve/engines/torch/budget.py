"""Budgets: memory for slots, KV cache and image features; work of a step, measured in a warm-up."""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

import PIL.Image

from llava_serve.checkpoints import memory
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.attention import AttentionSegment
from llava_serve.engines.torch.model_runner import ModelRunner, unusable
from llava_serve.engines.torch.prompt import PromptProcessor, media_of
from llava_serve.engines.torch.vision import Prompt, merge_image_features
from llava_serve.request import Conversation, Image, Message

logger = logging.getLogger(__name__)

_KV_FRACTION = 0.5  # of the memory that is free once the weights are loaded
_MOST_SLOTS = 16
_SLOT_TOKENS = 2048  # that the cache has at least for each slot
_FEATURE_FRACTION = 0.05
_MOST_FEATURE_BYTES = 2 * 2**30
_IDLE_PREFILL = 2048  # tokens: more at once is no faster, and a client who leaves would wait
_WARM_UP_SIZE = (64, 48)  # (width, height): not square, so that anyres tiles it
_LEAST_TOKENS = 64  # of fewer, a step costs hardly less
_STEP_S = 0.05  # how long prefill and vision tower may hold up the answers beside them


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBudget:
    """What the engine may hold.

    Attributes:
        slots: answers that are made at once.
        kv_tokens: tokens in the KV cache, of running sequences and of cached prefixes together.
        feature_bytes: memory for cached image features.
        prefill_budget: tokens of prompts that a step computes beside decoding sequences; None for
            what the machine computes in a twentieth of a second.
        idle_prefill_budget: the same while nothing decodes.
    """

    slots: int
    kv_tokens: int
    feature_bytes: int
    prefill_budget: int | None = None
    idle_prefill_budget: int = _IDLE_PREFILL


@dataclass(frozen=True, slots=True)
class StepBudget:
    """What a step takes on beside decoding sequences: tokens of prompts, and tiles of images.

    Each is what the machine does in a twentieth of a second, where that is not too little to be
    worthwhile.
    """

    tokens: int
    tiles: int


def choose_budget(
    loaded: LoadedModel,
    *,
    slots: int | None = None,
    prefill_budget: int | None = None,
    kv_tokens: int | None = None,
) -> EngineBudget:
    """Fill in what the flags leave open, from the memory that is free now.

    As many slots as half of the free memory has room for, up to a limit; a KV cache in which every
    slot can fill its context, and as much again for cached prefixes, but no more than that half.
    """
    model: Any = loaded.model
    config = model.config.get_text_config(decoder=True)
    each = memory.kv_values_per_token(config) * model.dtype.itemsize
    free = memory.free_bytes(model.device)
    affordable = int(free * _KV_FRACTION) // each
    if slots is None:
        least = min(_SLOT_TOKENS, loaded.context_length)
        slots = max(1, min(_MOST_SLOTS, (kv_tokens or affordable) // least))
    if kv_tokens is None:
        wanted = 2 * slots * loaded.context_length
        kv_tokens = min(wanted, affordable)
        why = "for all slots" if kv_tokens == wanted else f"{_KV_FRACTION:.0%} of free memory"
    else:
        why = "as --kv-cache-tokens says"
    budget = EngineBudget(
        slots=slots,
        kv_tokens=kv_tokens,
        feature_bytes=min(_MOST_FEATURE_BYTES, int(free * _FEATURE_FRACTION)),
        prefill_budget=prefill_budget,
    )
    logger.info(
        "%d slots; KV cache of %d tokens, %.2f GiB (%s); at most %.2f GiB of image features",
        slots,
        kv_tokens,
        kv_tokens * each / 2**30,
        why,
        budget.feature_bytes / 2**30,
    )
    return budget


def warm_up(
    loaded: LoadedModel, processor: PromptProcessor, runner: ModelRunner, kv_tokens: int
) -> StepBudget:
    """Run the model once, so that no user pays for it, and measure what a step can take on.

    Raises:
        CommandError: a cache of `kv_tokens` does not hold even a small image.
        RuntimeError: the model fails, as when memory is short.
    """
    started = time.monotonic()
    image = Image(PIL.Image.new("RGB", _WARM_UP_SIZE), sha256="warm-up")
    asked = Conversation((Message("user", (image, "Hello")),))
    preprocessed = processor.preprocess(asked, threading.Event())
    features = processor.features.encode(media_of(preprocessed.items))
    tiles = max(1, int(_STEP_S / processor.features.seconds_per_tile()))
    prompt = merge_image_features(loaded, preprocessed.items, features)
    length = len(prompt.tokens)
    if length + 1 > kv_tokens:
        raise unusable(kv_tokens, f"a small picture takes {length} tokens")
    step = StepBudget(_prefill_tokens(runner, prompt), tiles)
    logger.info(
        "warmed up in %.1f s; step budget beside answers: %d tokens of prompts, %d tiles",
        time.monotonic() - started,
        step.tokens,
        step.tiles,
    )
    return step


def _prefill_tokens(runner: ModelRunner, prompt: Prompt) -> int:
    length = len(prompt.tokens)
    runner.forward(prompt.embeddings, [AttentionSegment(0, length, 0, 0)])
    runner.forward(prompt.embeddings[:1], [AttentionSegment(0, 1, 0, length)])
    sample = min(length, _LEAST_TOKENS)
    started = time.monotonic()
    logits = runner.forward(prompt.embeddings[:sample], [AttentionSegment(0, sample, 0, 0)])
    logits.argmax().item()  # waits for the device
    return max(_LEAST_TOKENS, int(sample * _STEP_S / (time.monotonic() - started)))
