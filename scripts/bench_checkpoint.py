"""A checkpoint with the true shapes of LLaVA-OneVision 0.5B and random weights, made on the fly."""

import json
import string
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from scripts.random_checkpoint import byte_tokenizer

TILE = 384  # pixels
_PATCHES = (TILE // 14) ** 2


def write_half_billion(folder: Path) -> None:
    """Write the checkpoint in Hugging Face's layout, bfloat16, 1.8 GB.

    Its tokenizer is a token a byte, so that a text's length is its count of tokens; the model's
    vocabulary has its full size all the same.

    Source: config.json of llava-hf/llava-onevision-qwen2-0.5b-ov-hf.
    """
    tokenizer: Any = byte_tokenizer()
    sides = [TILE * n for n in range(1, 7)]
    pinpoints = [[height, width] for height in sides for width in sides]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=1152,
            intermediate_size=4304,
            num_hidden_layers=26,
            num_attention_heads=16,
            image_size=TILE,
            patch_size=14,
            vision_use_head=False,
        ),
        text_config=Qwen2Config(
            vocab_size=152_000,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            max_position_embeddings=32_768,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model: Any = LlavaOnevisionForConditionalGeneration(config)
    model.to(torch.bfloat16)
    letters = tokenizer.convert_tokens_to_ids(list(string.ascii_letters))
    weight = model.model.language_model.embed_tokens.weight.data
    weight[[i for i in range(len(weight)) if i not in letters]] = 0  # so it says letters only
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    mean = [0.5, 0.5, 0.5]
    LlavaOnevisionImageProcessorPil(
        size={"height": TILE, "width": TILE},
        image_grid_pinpoints=pinpoints,
        image_mean=mean,
        image_std=mean,
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": _PATCHES,
        "vision_feature_select_strategy": "full",
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
