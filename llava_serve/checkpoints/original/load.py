"""Checkpoints in LLaVA's original layout, loaded into transformers' classes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, PreTrainedTokenizerBase, Qwen2Config

from llava_serve.chat.rendering import PromptFormat
from llava_serve.checkpoints import memory, prompts
from llava_serve.checkpoints.instantiate import instantiate, require_memory
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.original.config import (
    context_length,
    language_model,
    model_config,
    projector_of,
    text_config,
)
from llava_serve.checkpoints.original.image_processing import ImageProcessing, image_processing_of
from llava_serve.checkpoints.original.legacy_tokenizer import legacy_tokenizer_of, model_file
from llava_serve.checkpoints.original.tower import VisionTower, tower_of
from llava_serve.checkpoints.original.weights import resized, rows_of, translate, weights_of
from llava_serve.checkpoints.precision import LoadOptions
from llava_serve.checkpoints.resolve import OriginalCheckpoint
from llava_serve.checkpoints.weights import Weights
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

# Source: haotian-liu/LLaVA@c121f04 llava/constants.py::IMAGE_TOKEN_INDEX.
_IMAGE = -200


@dataclass(frozen=True, slots=True)
class OriginalParts:
    """What a checkpoint is made of; `weights` have LLaVA's names, and none of them is read."""

    tower: VisionTower
    images: ImageProcessing
    tokenizer: PreTrainedTokenizerBase
    weights: Weights
    text: Any  # configuration of the language model
    config: Any  # configuration of the whole model


def open_parts(checkpoint: OriginalCheckpoint, aspect: str | None) -> OriginalParts:
    """Open the files of a checkpoint; `aspect` takes the place of its image_aspect_ratio.

    Raises:
        CheckpointError: a file is missing or broken, or what it says does not load.
    """
    tower = tower_of(checkpoint)
    images = image_processing_of(checkpoint, tower, aspect)
    weights = weights_of(checkpoint, tower)
    tokenizer = _tokenizer_of(checkpoint, rows_of(weights))
    text = text_config(checkpoint, len(tokenizer))
    config = model_config(checkpoint, text, tower, images.packing)
    return OriginalParts(tower, images, tokenizer, resized(weights, len(tokenizer)), text, config)


def load(checkpoint: OriginalCheckpoint, options: LoadOptions) -> LoadedModel:
    """Load a checkpoint.

    Raises:
        CheckpointError: a file is missing or broken, or weights are missing or left over.
    """
    parts = open_parts(checkpoint, options.aspect)
    tower, tokenizer, packing = parts.tower, parts.tokenizer, parts.images.packing
    context = context_length(checkpoint.config)
    require_memory(memory.count(parts.weights, parts.text), options, context, checkpoint.folder)
    weights = translate(
        parts.weights,
        projector_of(checkpoint),
        tower.config.num_hidden_layers,
        has_newline=packing.has_newline,
    )
    folder, base = checkpoint.folder, checkpoint.base
    model = instantiate(parts.config, weights, options.precision, folder, base)
    model.generation_config = prompts.generation_config(checkpoint.model_folder, parts.text)
    legacy_tokenizer = None
    if (path := _sentencepiece_file(checkpoint)) is not None:
        legacy_tokenizer = legacy_tokenizer_of(path, tokenizer, is_fast=_is_fast(checkpoint))
    logger.info(
        "vision tower %s, %d x %d patches a tile; pictures are fitted by %s, packed as %s",
        tower.name,
        packing.side,
        packing.side,
        packing.aspect,
        packing.merge,
    )
    return LoadedModel(
        name=options.name,
        model_type=parts.config.model_type,
        model=model,
        tokenizer=tokenizer,
        image_processor=parts.images.processor,
        frames=parts.images.frames if packing.pool else None,
        format=format_of(
            checkpoint, tokenizer, options.conv_mode, options.name, options.chat_template
        ),
        context_length=context,
        image_token_id=_IMAGE,
        video_token_id=None,
        stop_ids=prompts.stop_ids(model, tokenizer),
        original=parts.images,
        legacy_tokenizer=legacy_tokenizer,
    )


def _tokenizer_of(checkpoint: OriginalCheckpoint, rows: int) -> PreTrainedTokenizerBase:
    """Load the tokenizer, with the tokens that the config says were added to it.

    Raises:
        CheckpointError: its own vocabulary is larger than `rows`, the embeddings there are, or a
            file of it is broken.
    """
    _sentencepiece_file(checkpoint)  # transformers says of a broken one that a package is missing
    # AutoTokenizer knows no model type of LLaVA's own; Llama's and Mistral's tokenizers are one.
    kind = Qwen2Config() if language_model(checkpoint.config) == "qwen2" else LlamaConfig()
    tokenizer = prompts.tokenizer_of(checkpoint.model_folder, config=kind)
    # Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py::load_pretrained_model; the order
    # decides which rows of the embeddings are theirs.
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"the tokenizer in {checkpoint.model_folder} has {tokenizer.vocab_size} tokens and the "
            f"model {rows} embeddings: these files are of two models."
        )
    if checkpoint.config.mm_use_im_patch_token:
        tokenizer.add_tokens(["<im_patch>"], special_tokens=True)
    if checkpoint.config.mm_use_im_start_end:
        tokenizer.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    return tokenizer


def _sentencepiece_file(checkpoint: OriginalCheckpoint) -> Path | None:
    if language_model(checkpoint.config) == "qwen2":  # its tokenizer is not sentencepiece's
        return None
    return model_file(checkpoint.model_folder, is_fast=_is_fast(checkpoint))


def _is_fast(checkpoint: OriginalCheckpoint) -> bool:
    """Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py::load_pretrained_model, use_fast."""
    return language_model(checkpoint.config) == "mistral" and checkpoint.part == "model"


def format_of(
    checkpoint: OriginalCheckpoint,
    tokenizer: PreTrainedTokenizerBase,
    conv_mode: str | None,
    name: str,
    chat_template: str | None = None,
) -> PromptFormat:
    """Choose the prompt format, LLaVA's own unless the checkpoint's chat template knows images.

    `name` is what the model is called, which counts where nothing else tells. Where a
    `chat_template` is given it is that one.

    Raises:
        CheckpointError: no conversation template is known for this kind of model.
    """
    if chat_template is not None:
        return prompts.given_format(tokenizer, chat_template, ("<image>", "<video>"))
    own = prompts.chat_template(checkpoint.folder, tokenizer)
    if conv_mode is None and own is not None and "image" in own:
        return prompts.own_format(tokenizer, own, ("<image>", "<video>"))
    if own is not None:
        logger.info("the tokenizer's chat template is the language model's: it knows no pictures")
    # Published files say model_type llava for every language model.
    config = checkpoint.template_settings | {"model_type": language_model(checkpoint.config)}
    called = f"{checkpoint.folder.name} {name}"
    return prompts.conversation_format(called, config, tokenizer, conv_mode)
