"""The checkpoint's shape: a SigLIP tower, a Qwen2 text model, and what joins them."""

import re

import torch
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)

from scripts.tiny.tiles import PATCH, PINPOINTS, TILE

VISION_WIDTH, TEXT_WIDTH = 144, 160


def vision_config() -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=TILE,
        patch_size=PATCH,
        vision_use_head=False,
    )


def model_config(vocabulary: dict[str, int], text_layers: int = 6) -> LlavaOnevisionConfig:
    """Configure the model for a tokenizer's vocabulary."""
    end = vocabulary["<|im_end|>"]
    text = Qwen2Config(
        vocab_size=len(vocabulary),
        hidden_size=TEXT_WIDTH,
        intermediate_size=448,
        num_hidden_layers=text_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    return LlavaOnevisionConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_index=vocabulary["<image>"],
        video_token_index=vocabulary["<video>"],
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio="anyres_max_9",
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )


def deepened(
    model: LlavaOnevisionForConditionalGeneration, config: LlavaOnevisionConfig
) -> LlavaOnevisionForConditionalGeneration:
    """Copy `model` into a shape with more text layers that still computes what `model` does.

    The new layers go between the old ones of the second half and add nothing at first: what they
    write is zero.
    """
    old, new = (c.get_text_config().num_hidden_layers for c in (model.config, config))
    if old == new:
        return model
    first = old // 2
    added = {first + 2 * i for i in range(new - old)}
    kept = [i for i in range(new) if i not in added]
    state = {
        re.sub(
            r"(language_model\.layers\.)(\d+)", lambda m: m[1] + str(kept[int(m[2])]), name
        ): value
        for name, value in model.state_dict().items()
    }
    deeper = LlavaOnevisionForConditionalGeneration(config)
    deeper.load_state_dict(state, strict=False)
    with torch.no_grad():
        for i in added:
            layer = deeper.model.language_model.layers[i]
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return deeper
