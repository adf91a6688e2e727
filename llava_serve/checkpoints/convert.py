"""Conversion of LLaVA's original layout to Hugging Face's, for transformers alone."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.original.image_processing import ImageProcessing
from llava_serve.checkpoints.original.packing import Packing
from llava_serve.checkpoints.original.weights import language_weights
from llava_serve.checkpoints.resolve import OriginalCheckpoint, resolve
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_IMAGE, _VIDEO = "<image>", "<video>"
# What tells the conversation template, and says nothing to transformers.
_KEPT = ("mm_use_im_start_end", "tune_mm_mlp_adapter")


def convert(config: ModelConfig, out: Path) -> LoadedModel:
    """Write the checkpoint that the flags name to the new folder `out`.

    Weights keep the precision they are stored in unless the flags say another.

    Raises:
        CheckpointError: it cannot be loaded, it is of another layout, transformers computes
            something else, or `out` is in use.
    """
    checkpoint = resolve(config.model_path, config.model_base)
    if not isinstance(checkpoint, OriginalCheckpoint):
        raise CheckpointError(
            f"{config.model_path} is not in LLaVA's original layout: nothing to convert."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} is not empty; give a new folder.")
    if config.dtype == "auto":
        stored = language_weights(checkpoint)["model.norm.weight"].read().dtype
        config = replace(config, dtype=str(stored).removeprefix("torch."))  # type: ignore[arg-type]
    loaded = load(replace(config, device="cpu"), checkpoint=checkpoint)
    adapt(loaded, checkpoint)
    write(loaded, out)
    return loaded


def adapt(loaded: LoadedModel, checkpoint: OriginalCheckpoint) -> None:
    """Give a model in memory what transformers needs of it: tokens of media, and settings.

    Raises:
        CheckpointError: transformers computes something else than LLaVA's code.
    """
    assert loaded.original is not None  # as that layout has it
    _require_same(loaded.model_type, loaded.original.packing)
    _add_media_tokens(loaded)
    settings = checkpoint.template_settings
    loaded.model.config.update({key: settings[key] for key in _KEPT if settings.get(key)})
    sampling: Any = loaded.model.generation_config
    if not sampling.do_sample:  # beside greedy decoding, transformers refuses to save these
        sampling.temperature = sampling.top_p = sampling.top_k = None


def write(loaded: LoadedModel, out: Path) -> None:
    """Write a model that was adapted to the folder `out`."""
    assert loaded.original is not None
    loaded.model.save_pretrained(out)
    loaded.tokenizer.save_pretrained(out)
    _write_settings(loaded, loaded.original, out)
    for weights in out.glob("*.safetensors"):  # which are written for their owner alone
        weights.chmod((out / "config.json").stat().st_mode)


def _require_same(model_type: str, packing: Packing) -> None:
    """Refuse what transformers' class for the model packs in another way."""
    tiles = "anyres_max_N" if model_type == "llava_onevision" else "anyres"
    problem = None
    if packing.merge == "flat" and packing.is_tiled:
        problem = "puts tiles in a row without lines (mm_patch_merge_type flat with anyres)"
    elif packing.merge == "spatial":
        problem = "has no newline between lines (mm_patch_merge_type spatial)"
    elif packing.merge == "spatial_unpad" and not packing.is_tiled:
        problem = f"fits pictures by {packing.aspect} although it has a newline"
    elif packing.merge == "spatial_unpad" and ("max" in packing.aspect) != ("max" in tiles):
        problem = f"tiles by {packing.aspect}, where transformers' {model_type} knows {tiles} only"
    elif packing.has_newline and packing.pool and packing.position != "one_token":
        problem = f"ends lines of a video by mm_newline_position {packing.position}"
    elif packing.has_newline and packing.pool not in (None, "bilinear"):
        problem = f"pools frames by {packing.pool}"
    if problem is not None:
        raise CheckpointError(
            f"this checkpoint {problem}, which no class of transformers does; in its original "
            "layout it is served as it was trained."
        )
    if packing.pool and not packing.has_newline:
        logger.warning("the written model takes no video: transformers' class for it has none")


def _add_media_tokens(loaded: LoadedModel) -> None:
    """Give images and videos a token each; its logit, the mean of all, is never the highest."""
    model: Any = loaded.model
    tokenizer, config = loaded.tokenizer, model.config
    names = [_IMAGE, _VIDEO] if loaded.model_type == "llava_onevision" else [_IMAGE]
    tokenizer.add_special_tokens({"additional_special_tokens": names})
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    means = [table.weight.data.float().mean(dim=0) for table in tables]
    rows = int(config.get_text_config().vocab_size)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for table, mean in zip(
        (model.get_input_embeddings(), model.get_output_embeddings()), means, strict=True
    ):
        with torch.no_grad():
            table.weight[rows:] = mean.to(table.weight)
    config.image_token_index = tokenizer.convert_tokens_to_ids(_IMAGE)
    if _VIDEO in names:
        config.video_token_index = tokenizer.convert_tokens_to_ids(_VIDEO)


def _write_settings(loaded: LoadedModel, images: ImageProcessing, out: Path) -> None:
    config: Any = loaded.model.config
    images.processor.save_pretrained(out)
    family = type(loaded.model).__name__.removesuffix("ForConditionalGeneration")
    settings: dict[str, Any] = {
        "processor_class": f"{family}Processor",
        "image_token": _IMAGE,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
    }
    if loaded.model_type == "llava_onevision":
        settings |= {
            "video_token": _VIDEO,
            "num_image_tokens": images.packing.side**2,
            "vision_aspect_ratio": config.vision_aspect_ratio,
        }
        video = images.square.to_dict() | {"video_processor_type": "LlavaOnevisionVideoProcessor"}
        del video["image_processor_type"]
        _write(out / "video_preprocessor_config.json", video)
    else:
        has_class_token = config.vision_config.model_type.startswith("clip")
        settings["num_additional_image_tokens"] = int(has_class_token)
        settings["patch_size"] = config.vision_config.patch_size
    _write(out / "processor_config.json", settings)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
