"""Checkpoint of the trained model: its configuration, added text layers, the files on disk."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from scripts.tiny.tiles import PATCH, PATCHES, PINPOINTS, TILE
from scripts.tiny.tokenizer import CHAT_TEMPLATE, IMAGE, VIDEO

_PIXELS: dict[str, object] = {
    "size": {"height": TILE, "width": TILE},
    "resample": 3,
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_convert_rgb": True,
}
_IMAGE_PROCESSOR = _PIXELS | {
    "image_processor_type": "LlavaOnevisionImageProcessor",
    "processor_class": "LlavaOnevisionProcessor",
    "do_pad": True,
    "image_grid_pinpoints": PINPOINTS,
}
_VIDEO_PROCESSOR = _PIXELS | {
    "video_processor_type": "LlavaOnevisionVideoProcessor",
    "processor_class": "LlavaOnevisionProcessor",
    "do_sample_frames": False,
}
_PROCESSOR: dict[str, object] = {
    "processor_class": "LlavaOnevisionProcessor",
    "num_image_tokens": PATCHES,
    "vision_feature_select_strategy": "full",
    "vision_aspect_ratio": "anyres_max_9",
    "image_token": IMAGE,
    "video_token": VIDEO,
}
VISION_WIDTH, TEXT_WIDTH = 144, 160


def vision_config() -> SiglipVisionConfig:
    """Configure the SigLIP vision tower."""
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
    """Copy `model` into a configuration with more text layers; it computes the same at first.

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


def save_checkpoint(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write weights, tokenizer, template and processor files."""
    with written_whole(folder) as partial:
        _write(model, tokenizer, partial)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Give a folder to write to, whose files then take their places: no reader sees half a file."""
    partial = folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for path in partial.iterdir():
        path.chmod(0o644)
        os.replace(path, folder / path.name)  # noqa: PTH105 - replaces on every platform
    partial.rmdir()


def _write(
    model: LlavaOnevisionForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    for name, content in (
        ("preprocessor_config.json", _IMAGE_PROCESSOR),
        ("video_preprocessor_config.json", _VIDEO_PROCESSOR),
        ("processor_config.json", _PROCESSOR),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
