"""A folder in Hugging Face's layout becomes a loaded model, with every weight accounted for."""

import logging
import pickle
import re
from collections.abc import Callable
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoTokenizer,
    LlavaForConditionalGeneration,
    LlavaNextForConditionalGeneration,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    VipLlavaForConditionalGeneration,
)

from llava_serve.chat.rendering import PromptFormat, from_chat_template, from_template
from llava_serve.chat.templates import template_for, template_named
from llava_serve.checkpoints import pictures
from llava_serve.checkpoints.detect import Found, read_json, require_weights
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.precision import Precision
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_CLASSES: dict[str, Any] = {
    "llava": LlavaForConditionalGeneration,
    "llava_next": LlavaNextForConditionalGeneration,
    "llava_onevision": LlavaOnevisionForConditionalGeneration,
    "vipllava": VipLlavaForConditionalGeneration,
    "llava_next_video": LlavaNextVideoForConditionalGeneration,
}
# Written by older versions of transformers, or for parts that LLaVA never reads; none can change
# an answer.
_HARMLESS = re.compile(
    r"rotary_emb\.inv_freq$|\.position_ids$|vision_tower\.(vision_model\.)?head\.|^(model\.)?image_newline$"
)


def load(found: Found, precision: Precision, name: str, conv_mode: str | None) -> LoadedModel:
    """Load `found` with transformers' own class for it.

    Raises:
        CheckpointError: a file is missing or broken, or weights are missing or left over.
    """
    require_weights(found)
    tokenizer = _tokenizer(found)
    image_processor = pictures.image_processor(found)
    frames = pictures.frames(found, image_processor)
    model = _model(found, precision)
    config = model.config
    text_config = config.get_text_config(decoder=True)
    image_token_id = int(config.image_token_id)
    video_token_id = getattr(config, "video_token_id", None) if frames else None
    prompt_format = _format(found, tokenizer, conv_mode, image_token_id, video_token_id)
    logger.info("prompts are made with %s", prompt_format.name)
    return LoadedModel(
        name=name,
        model_type=found.model_type,
        model=model,
        tokenizer=tokenizer,
        image_processor=image_processor,
        frames=frames,
        format=prompt_format,
        context_length=int(text_config.max_position_embeddings),
        image_token_id=image_token_id,
        video_token_id=video_token_id,
        stop_ids=_stop_ids(model, tokenizer),
    )


def _tokenizer(found: Found) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            found.folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError) as exc:
        raise CheckpointError(f"the tokenizer in {found.folder} cannot be loaded: {exc}") from exc
    return tokenizer


def _model(found: Found, precision: Precision) -> PreTrainedModel:
    options: dict[str, Any] = {}
    if precision.quantization is not None:
        options["quantization_config"] = precision.quantization
    try:
        model, info = _CLASSES[found.model_type].from_pretrained(
            found.folder,
            dtype=precision.dtype,
            device_map={"": precision.device},
            attn_implementation=precision.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            local_files_only=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as exc:
        if isinstance(exc, torch.OutOfMemoryError):
            raise CheckpointError(
                f"{found.folder} does not fit into the memory of {precision.device}: {exc} "
                "Try --load-8bit, --load-4bit or --device cpu."
            ) from exc
        raise CheckpointError(f"the weights in {found.folder} cannot be loaded: {exc}") from exc
    _account(found, info)
    result: PreTrainedModel = model.eval()
    return result


def _account(found: Found, info: dict[str, Any]) -> None:
    """Refuse a model of which weights are missing, left over or of another shape."""
    unexpected = sorted(key for key in info["unexpected_keys"] if not _HARMLESS.search(key))
    mismatched = sorted(
        f"{key} is {tuple(held)}, config.json asks for {tuple(asked)}"
        for key, held, asked in info["mismatched_keys"]
    )
    problems = [
        f"{len(names)} {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for what, names in (
            ("are missing", sorted(info["missing_keys"])),
            ("belong to no part of the model", unexpected),
            ("have another shape", mismatched),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f"the weights in {found.folder} do not fit its config.json: {'; '.join(problems)}. "
            "The model would answer nonsense, so it is not loaded."
        )


def _format(
    found: Found,
    tokenizer: PreTrainedTokenizerBase,
    conv_mode: str | None,
    image_token_id: int,
    video_token_id: int | None,
) -> PromptFormat:
    if conv_mode is not None:
        return from_template(template_named(conv_mode))
    if (source := _chat_template(found, tokenizer)) is None:
        try:
            template, reason = template_for(found.config)
        except ValueError as exc:
            raise CheckpointError(f"{found.folder} has no chat template, and {exc}") from exc
        logger.info("no chat template; %s is used because %s", template.name, reason)
        return from_template(template)
    tokens = [
        str(tokenizer.convert_ids_to_tokens(token_id)) if token_id is not None else fallback
        for token_id, fallback in ((image_token_id, "<image>"), (video_token_id, "<video>"))
    ]
    return from_chat_template(_applier(tokenizer, source), *tokens)


def _applier(
    tokenizer: PreTrainedTokenizerBase, source: str
) -> Callable[[list[dict[str, Any]]], str]:
    def apply(messages: list[dict[str, Any]]) -> str:
        return str(
            tokenizer.apply_chat_template(
                messages, chat_template=source, tokenize=False, add_generation_prompt=True
            )
        )

    return apply


def _chat_template(found: Found, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the jinja source: the processor's own file first, then the tokenizer's."""
    for name in ("chat_template.json", "processor_config.json"):
        path = found.folder / name
        if path.exists() and isinstance(source := read_json(path).get("chat_template"), str):
            return source
    source = tokenizer.chat_template
    return source.get("default") if isinstance(source, dict) else source


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Collect the tokens that end an answer, the model's and the tokenizer's."""
    configs = (model.generation_config, model.config.get_text_config(decoder=True))
    ids: set[int] = set()
    for config in configs:
        eos = getattr(config, "eos_token_id", None)
        ids.update(eos if isinstance(eos, list | tuple) else [] if eos is None else [eos])
    if isinstance(tokenizer.eos_token_id, int):
        ids.add(tokenizer.eos_token_id)
    return frozenset(ids)
