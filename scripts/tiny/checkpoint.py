"""Writes the model in Hugging Face's layout: weights, tokenizer, template and processor files."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import (
    GenerationConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from scripts.tiny.labels import PATCHES
from scripts.tiny.tiles import PINPOINTS, TILE
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
