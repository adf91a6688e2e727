"""Starting point: the model that a training begins with, whole or put together from its parts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llava_serve.chat.choosing import template_for
from llava_serve.checkpoints.detect import read_json
from llava_serve.checkpoints.hub import folder_of
from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.checkpoints.original.config import language_model
from llava_serve.checkpoints.resolve import (
    Checkpoint,
    HuggingFaceCheckpoint,
    OriginalCheckpoint,
    resolve,
)
from llava_serve.config import ModelConfig
from llava_serve.errors import CommandError
from llava_serve.training.composition import LANGUAGE_MODELS, MATCHED, composed
from llava_serve.training.flags import ModelFlags, TrainingFlags
from llava_serve.training.projector_file import TWO_LAYERS, read_into


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A model in memory, and the files it is from.

    `settings` are config.json of a checkpoint in LLaVA's layout, with what the flags change; empty
    in Hugging Face's layout. `base` is what a part of the model is served with.
    """

    loaded: LoadedModel
    checkpoint: Checkpoint
    base: Path
    settings: dict[str, Any]

    @property
    def projector(self) -> str:
        """The projector's kind, by LLaVA's name."""
        return str(
            self.settings.get("mm_projector_type", "linear") if self.settings else TWO_LAYERS
        )


def open_start(flags: TrainingFlags) -> StartingPoint:
    """Load what --model_name_or_path names: a LLaVA, or a language model that is to become one.

    Raises:
        CheckpointError: it cannot be loaded.
        CommandError: a flag contradicts the model.
    """
    model = flags.model
    folder = folder_of(model.model_name_or_path)
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    if "mm_vision_tower" not in config and config.get("model_type") in LANGUAGE_MODELS:
        with composed(flags, folder, config) as made:
            start = _loaded(flags, made, folder)
        if flags.mode == "pretrain":
            return start
        return replace(start, checkpoint=replace(made, part="model", folder=folder, base=None))
    checkpoint = resolve(model.model_name_or_path, None)
    if isinstance(checkpoint, HuggingFaceCheckpoint):
        _require_same_hf(model, checkpoint)
    else:
        _require_same(model, checkpoint)
    start = _loaded(flags, checkpoint, folder)
    if model.pretrain_mm_mlp_adapter is not None:
        read_into(start.loaded.model, Path(model.pretrain_mm_mlp_adapter))
    return start


def _loaded(flags: TrainingFlags, checkpoint: Checkpoint, base: Path) -> StartingPoint:
    """Load a checkpoint: what is trained in float32, whole models of which nothing is frozen."""
    run, half = flags.run, "float32"
    version = flags.model.version
    if isinstance(checkpoint, OriginalCheckpoint) and version is None and flags.mode != "pretrain":
        raw = checkpoint.config.raw | {"model_type": language_model(checkpoint.config)}
        version = template_for(raw, name=flags.model.model_name_or_path)[0].name
    if flags.mode != "finetune" and (run.bf16 or run.fp16):
        half = "bfloat16" if run.bf16 else "float16"
    config = ModelConfig(
        model_path=flags.model.model_name_or_path,
        device="cpu" if run.use_cpu else "auto",
        dtype=half,  # type: ignore[arg-type]
        load_8bit=flags.model.bits == 8,
        load_4bit=flags.model.bits == 4,
        image_aspect_ratio=flags.data.image_aspect_ratio,
    )
    loaded = load(config, version, checkpoint=checkpoint)
    settings: dict[str, Any] = {}
    if isinstance(checkpoint, OriginalCheckpoint):
        settings = dict(checkpoint.config.raw)
        if flags.data.image_aspect_ratio is not None:
            settings["image_aspect_ratio"] = flags.data.image_aspect_ratio
    return StartingPoint(loaded, checkpoint, base, settings)


def _require_same(model: ModelFlags, checkpoint: OriginalCheckpoint) -> None:
    held = checkpoint.config.raw
    for name, usual in MATCHED.items():
        asked, has = getattr(model, name), held.get(name)
        _require(name, asked, usual if has is None else has)
    tower = model.vision_tower
    if tower is not None and Path(tower).name != Path(checkpoint.config.mm_vision_tower).name:
        _require("vision_tower", tower, checkpoint.config.mm_vision_tower)


def _require_same_hf(model: ModelFlags, checkpoint: HuggingFaceCheckpoint) -> None:
    held = checkpoint.config.raw
    _require("vision_tower", model.vision_tower, "in its own files")
    _require("mm_projector_type", model.mm_projector_type, TWO_LAYERS)
    _require(
        "mm_vision_select_layer", model.mm_vision_select_layer, held.get("vision_feature_layer", -2)
    )
    select = {"default": "patch", "full": "cls_patch"}
    strategy = select.get(held.get("vision_feature_select_strategy", "default"))
    _require("mm_vision_select_feature", model.mm_vision_select_feature, strategy)
    _require("mm_patch_merge_type", model.mm_patch_merge_type, "fixed by its class")
    _require("mm_use_im_start_end", model.mm_use_im_start_end, False)


def _require(name: str, asked: object, has: object) -> None:
    if asked is not None and asked != has:
        raise CommandError(
            f"--{name} {asked}: the model has another one ({has}), which its weights were made for",
            f"Leave out --{name}, or start from a language model alone.",
        )
