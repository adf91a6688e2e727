"""A checkpoint in LLaVA's original layout becomes a loaded model."""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlavaForConditionalGeneration,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerBase,
    Qwen2Config,
)

from llava_serve.chat.rendering import PromptFormat
from llava_serve.checkpoints import memory, prompts
from llava_serve.checkpoints.asked import Asked
from llava_serve.checkpoints.generation import generation_config
from llava_serve.checkpoints.instantiate import instantiate
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.original import keys, lora
from llava_serve.checkpoints.original.config import (
    context_length,
    language_model,
    model_config,
    projector_of,
    text_config,
)
from llava_serve.checkpoints.original.pictures import Pictures, pictures_of
from llava_serve.checkpoints.original.pieces import Pieces, model_file, pieces_of
from llava_serve.checkpoints.original.source import PROJECTOR, Source
from llava_serve.checkpoints.original.tower import Tower, tower_of
from llava_serve.checkpoints.weights import Weight, Weights, open_file, open_folder
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

# Source: haotian-liu/LLaVA@c121f04 llava/constants.py::IMAGE_TOKEN_INDEX.
_IMAGE = -200
_EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
_CLASSES: dict[str, Any] = {
    "llava": LlavaForConditionalGeneration,
    "llava_next": LlavaNextForConditionalGeneration,
    "llava_onevision": LlavaOnevisionForConditionalGeneration,
}


def load(source: Source, asked: Asked) -> LoadedModel:
    """Load `source` into the transformers class that computes the same.

    Raises:
        CheckpointError: a file is missing or broken, or weights are missing or left over.
    """
    tower = tower_of(source)
    pictures = pictures_of(source, tower, asked.aspect)
    weights = with_tower(weights_of(source), tower)
    tokenizer = tokenizer_of(source, rows_of(weights))
    weights = resized(weights, len(tokenizer))
    text = text_config(source, len(tokenizer))
    config = model_config(source, text, tower, pictures.packing)
    context = context_length(source.config)
    memory.require(memory.size_of(weights, text), asked, context, source.folder)
    model = instantiate(
        _CLASSES[config.model_type],
        asked.precision,
        source.folder,
        source.base,
        pretrained_model_name_or_path=None,
        config=config,
        state_dict=keys.translate(
            weights,
            projector_of(source),
            tower.config.num_hidden_layers,
            has_newline=pictures.packing.has_newline,
        ),
    )
    model.generation_config = generation_config(source.model_folder, text)
    prompt_format = format_of(source, tokenizer, asked.conv_mode, asked.name)
    logger.info("prompts are made with %s: %s", prompt_format.name, prompt_format.reason)
    _explain(source, tower, pictures)
    return LoadedModel(
        name=asked.name,
        model_type=config.model_type,
        model=model,
        tokenizer=tokenizer,
        image_processor=pictures.processor,
        frames=pictures.frames if pictures.packing.pool else None,
        format=prompt_format,
        context_length=context,
        image_token_id=_IMAGE,
        video_token_id=None,
        stop_ids=prompts.stop_ids(model, tokenizer),
        original=pictures,
        pieces=_pieces(source, tokenizer),
    )


def tokenizer_of(source: Source, rows: int) -> PreTrainedTokenizerBase:
    """Load the tokenizer, with the tokens that the config says were added to it.

    Raises:
        CheckpointError: its own vocabulary is larger than `rows`, the embeddings there are, or a
            file of it is broken.
    """
    _model_file(source)  # transformers says of a broken one that a package is missing
    # AutoTokenizer knows no model type of LLaVA's own; Llama's and Mistral's tokenizers are one.
    kind = Qwen2Config() if language_model(source.config) == "qwen2" else LlamaConfig()
    tokenizer = prompts.tokenizer_of(source.model_folder, config=kind)
    # Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py::load_pretrained_model; the order
    # decides which rows of the embeddings are theirs.
    if tokenizer.vocab_size > rows:
        raise CheckpointError(
            f"the tokenizer in {source.model_folder} has {tokenizer.vocab_size} tokens and the "
            f"model {rows} embeddings: these files are of two models."
        )
    if source.config.get("mm_use_im_patch_token", True):
        tokenizer.add_tokens(["<im_patch>"], special_tokens=True)
    if source.config.get("mm_use_im_start_end"):
        tokenizer.add_tokens(["<im_start>", "<im_end>"], special_tokens=True)
    return tokenizer


def _pieces(source: Source, tokenizer: PreTrainedTokenizerBase) -> Pieces | None:
    if (path := _model_file(source)) is None:
        return None
    return pieces_of(path, tokenizer, is_fast=_is_fast(source))


def _model_file(source: Source) -> Path | None:
    if language_model(source.config) == "qwen2":  # its tokenizer is not sentencepiece's
        return None
    return model_file(source.model_folder, is_fast=_is_fast(source))


def _is_fast(source: Source) -> bool:
    """Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py::load_pretrained_model, use_fast."""
    return language_model(source.config) == "mistral" and source.part == "model"


def weights_of(source: Source) -> Weights:
    """Open the weights of all parts, under LLaVA's names."""
    weights = open_folder(source.model_folder)
    if source.part == "lora":
        return lora.apply(weights, source.folder)
    if source.part == "projector":
        # Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py::load_pretrained_model.
        return weights | _named_as_whole(open_file(source.folder / PROJECTOR))
    return weights


def _named_as_whole(weights: Weights) -> Weights:
    """Undo the prefixes that training wrappers leave before the names of a saved projector."""
    return {
        "model." + name[name.find("mm_projector") :] if "mm_projector" in name else name: weight
        for name, weight in weights.items()
    }


def with_tower(weights: Weights, tower: Tower) -> Weights:
    """Add the tower's own weights where the checkpoint brings none."""
    if any(name.startswith(keys.TOWER) for name in weights):
        logger.info("the vision tower's weights are in the checkpoint")
        return weights
    return weights | tower.weights()


def rows_of(weights: Weights) -> int:
    """Return how many embeddings there are.

    Raises:
        CheckpointError: there are none.
    """
    table = weights.get(_EMBEDDINGS[0])
    if table is None:
        raise CheckpointError(
            f"the weights lack {_EMBEDDINGS[0]}: these files hold no language model."
        )
    return table.shape[0]


def resized(weights: Weights, tokens: int) -> Weights:
    """Give each token its row of the embeddings, and no row to anything else.

    Rows that are missing, of tokens added to the vocabulary that nobody trained, are zeros.

    Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py, resize_token_embeddings.
    """
    held = {name: weights[name] for name in _EMBEDDINGS if name in weights}
    return weights | {name: _rows(weight, tokens) for name, weight in held.items()}


def _rows(weight: Weight, count: int) -> Weight:
    def read() -> torch.Tensor:
        kept = weight.read()[:count]
        missing = count - len(kept)
        return torch.cat([kept, kept.new_zeros(missing, *kept.shape[1:])]) if missing else kept

    return Weight((count, *weight.shape[1:]), weight.itemsize, read)


def format_of(
    source: Source, tokenizer: PreTrainedTokenizerBase, conv_mode: str | None, name: str
) -> PromptFormat:
    """Choose the prompt format, LLaVA's own unless the checkpoint's chat template knows pictures.

    `name` is what the model is called, which counts where nothing else tells.

    Raises:
        CheckpointError: no conversation template is known for this kind of model.
    """
    own = prompts.chat_template(source.folder, tokenizer)
    if conv_mode is None and own is not None and "image" in own:
        found = prompts.own_format(source.folder, tokenizer, ("<image>", "<video>"))
        assert found is not None  # there is a template
        return found
    if own is not None:
        logger.info("the tokenizer's chat template is the language model's: it knows no pictures")
    # Published files say model_type llava for every language model.
    config = source.config | {"model_type": language_model(source.config)}
    if source.part == "projector":
        config["tune_mm_mlp_adapter"] = True
    called = f"{source.folder.name} {name}"
    return prompts.conversation_format(called, config, tokenizer, conv_mode)


def _explain(source: Source, tower: Tower, pictures: Pictures) -> None:
    packing = pictures.packing
    logger.info(
        "vision tower %s, %d x %d patches a tile; pictures are fitted by %s, packed as %s",
        tower.name,
        packing.side,
        packing.side,
        packing.aspect,
        packing.merge,
    )
