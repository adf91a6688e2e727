"""Checkpoints of every family with random weights, for tests and measurements; they say nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

Family = Literal[
    "llava", "llava_interleave", "llava_next", "llava_onevision", "vipllava", "llava_next_video"
]

_END, _IMAGE, _VIDEO = "<|im_end|>", "<image>", "<video>"
_SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", _END, _IMAGE, _VIDEO]
_CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% for part in message['content'] -%}
{%- if part['type'] == 'text' %}{{ part['text'] }}{% else %}<{{ part['type'] }}>
{% endif -%}
{%- endfor %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""
# As published with LLaVA-NeXT-Interleave: a turn's pictures come before its texts.
_PICTURES_FIRST = """\
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}
{%- for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}
{%- endfor %}
{%- for part in message['content'] | selectattr('type', 'equalto', 'text') %}
{{- '\\n' + part['text'] }}
{%- endfor %}{{ '<|im_end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model; the defaults make one that a test builds in no time."""

    hidden_size: int = 32
    layers: int = 2
    heads: int = 4
    tile: int = 32  # pixels
    patch: int = 8  # pixels
    context: int = 512


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer (Qwen's kind) in which every byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in _SPECIAL[3:]])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=_END, chat_template=_CHAT_TEMPLATE
    )


def write(family: Family, folder: Path, seed: int = 0, shape: Shape | None = None) -> None:
    """Write a checkpoint of `family` in Hugging Face's layout; equal seeds, equal weights."""
    shape = shape or Shape()
    tokenizer = byte_tokenizer()
    if family == "llava_interleave":
        tokenizer.chat_template = _PICTURES_FIRST
    torch.manual_seed(seed)
    model = _model(family, shape, tokenizer)
    for parameter in model.parameters():  # the usual start is so small that all logits agree
        torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim > 1 else 1.0)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _image_processor(family, shape).save_pretrained(folder)


def _model(family: Family, shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Any:
    has_clip = family not in ("llava_interleave", "llava_onevision")
    vision: dict[str, Any] = {
        "hidden_size": shape.hidden_size,
        "intermediate_size": 2 * shape.hidden_size,
        "num_hidden_layers": shape.layers + 1,
        "num_attention_heads": shape.heads,
        "image_size": shape.tile,
        "patch_size": shape.patch,
    }
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden_size,
        "intermediate_size": 2 * shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads // 2,
        "max_position_embeddings": shape.context,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": None,
    }
    parts: dict[str, Any] = {
        "vision_config": (
            CLIPVisionConfig(**vision)
            if has_clip
            else SiglipVisionConfig(**vision, vision_use_head=False)
        ),
        "text_config": LlamaConfig(**text) if has_clip else Qwen2Config(**text),
        "image_token_index": tokenizer.convert_tokens_to_ids(_IMAGE),
    }
    if family == "llava":
        return LlavaForConditionalGeneration(LlavaConfig(**parts))
    if family == "llava_interleave":
        parts |= {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
        return LlavaForConditionalGeneration(LlavaConfig(**parts))
    if family == "vipllava":
        # Spelt as in published checkpoints: transformers 5.20 knows no other name.
        parts["vision_feature_layers"] = list(range(-2, -2 - shape.layers, -1))
        return VipLlavaForConditionalGeneration(VipLlavaConfig(**parts))
    parts["image_grid_pinpoints"] = _pinpoints(shape)
    if family == "llava_next":
        return LlavaNextForConditionalGeneration(LlavaNextConfig(**parts))
    parts["video_token_index"] = tokenizer.convert_tokens_to_ids(_VIDEO)
    if family == "llava_next_video":
        return LlavaNextVideoForConditionalGeneration(LlavaNextVideoConfig(**parts))
    return LlavaOnevisionForConditionalGeneration(LlavaOnevisionConfig(**parts))


def _image_processor(family: Family, shape: Shape) -> Any:
    square = {"height": shape.tile, "width": shape.tile}
    if family == "llava_onevision":
        mean = [0.5, 0.5, 0.5]
        return LlavaOnevisionImageProcessorPil(
            size=square, image_grid_pinpoints=_pinpoints(shape), image_mean=mean, image_std=mean
        )
    if family == "llava_interleave":
        return SiglipImageProcessorPil(size=square)
    sizes: dict[str, Any] = {"size": {"shortest_edge": shape.tile}, "crop_size": square}
    if family in ("llava", "vipllava"):
        return LlavaImageProcessorPil(**sizes)
    return LlavaNextImageProcessorPil(**sizes, image_grid_pinpoints=_pinpoints(shape))


def _pinpoints(shape: Shape) -> list[list[int]]:
    """(height, width) of each canvas: up to three tiles in a row or column, and two by two."""
    grids = ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (2, 2))
    return [[rows * shape.tile, columns * shape.tile] for rows, columns in grids]
