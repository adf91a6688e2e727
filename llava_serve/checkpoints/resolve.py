"""A path with its --model-base, resolved once: folders, layout and validated config of a model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from llava_serve.checkpoints.detect import CheckpointInfo, detect, read_json, refuse_lfs_pointers
from llava_serve.checkpoints.hub import folder_of
from llava_serve.checkpoints.settings import (
    HuggingFaceConfig,
    OriginalConfig,
    check_beside,
    parse,
)
from llava_serve.errors import CheckpointError

Part = Literal["model", "lora", "projector"]

PROJECTOR = "mm_projector.bin"
TRAINABLES = "non_lora_trainables.bin"


@dataclass(frozen=True, slots=True)
class HuggingFaceCheckpoint:
    """A whole model in Hugging Face's layout, and the folder of an adapter for it."""

    folder: Path
    model_type: str
    config: HuggingFaceConfig
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class OriginalCheckpoint:
    """The folders of a checkpoint in LLaVA's own layout.

    `folder` was given; it is the whole model, or a part that changes the model in `base`. `path` is
    the file that `config` was read from.
    """

    folder: Path
    part: Part
    base: Path | None
    config: OriginalConfig
    path: Path

    @property
    def model_folder(self) -> Path:
        """Where the language model and its tokenizer are."""
        return self.base or self.folder


Checkpoint = HuggingFaceCheckpoint | OriginalCheckpoint


def resolve(path: str, model_base: str | None) -> Checkpoint:
    """Find the folders that `path` and `--model-base` name, and read their config.json.

    An adapter is of its base's layout. Each path is looked up once.

    Raises:
        CheckpointError: there is no checkpoint, a base is missing, not needed or no model, or a
            value in a settings file cannot be used.
    """
    given = detect(folder_of(path))
    part = _part(given)
    if part == "model":
        if model_base is not None:
            raise CheckpointError(
                f"{given.folder} is a whole model and needs no base: leave out --model-base."
            )
        if given.layout == "hf":
            return _huggingface(given)
        return _original(given, part, None)
    if model_base is None:
        raise CheckpointError(_needs_base(given, part))
    base = folder_of(model_base)
    if given.layout == "adapter":
        model = detect(base)
        if model.layout == "adapter":
            raise CheckpointError(f"--model-base {model_base} is an adapter itself, not a model.")
        if model.layout == "hf":
            return replace(_huggingface(model), adapter=given.folder)
    if not (base / "config.json").exists():
        raise CheckpointError(
            f"--model-base {model_base} is no model: it has no config.json. "
            f"Give the folder of {given.trained_on}."
        )
    refuse_lfs_pointers(base)
    return _original(given, part, base)


def _part(given: CheckpointInfo) -> Part:
    if (given.folder / "adapter_config.json").exists():
        return "lora"
    is_whole = given.layout == "hf" or any(
        any(given.folder.glob(pattern)) for pattern in ("model*.safetensors", "pytorch_model*.bin")
    )
    return "projector" if (given.folder / PROJECTOR).exists() and not is_whole else "model"


def _huggingface(info: CheckpointInfo) -> HuggingFaceCheckpoint:
    config = parse(HuggingFaceConfig, info.folder / "config.json", info.config)
    check_beside(info.folder)
    return HuggingFaceCheckpoint(info.folder, info.model_type, config)


def _original(given: CheckpointInfo, part: Part, base: Path | None) -> OriginalCheckpoint:
    path, config = given.folder / "config.json", given.config
    if base is not None and "mm_vision_tower" not in config:
        path = base / "config.json"
        config = read_json(path)
    if "mm_vision_tower" not in config:
        raise CheckpointError(
            f"neither {given.folder} nor --model-base {base} has a config.json with LLaVA's "
            "settings (mm_vision_tower and others). Copy the one that training wrote beside the "
            "weights."
        )
    settings = parse(OriginalConfig, path, config)
    check_beside(base or given.folder)
    return OriginalCheckpoint(given.folder, part, base, settings, path)


def _needs_base(given: CheckpointInfo, part: Part) -> str:
    """Say of a part of a model that it cannot stand alone, and of a base beside it where it is."""
    what = {"lora": "an adapter (LoRA)", "projector": f"only a projector ({PROJECTOR})"}[part]
    what = "an adapter" if given.layout == "adapter" else what
    folder = given.folder.resolve()
    beside = folder.parent / Path(given.trained_on).name
    is_model = beside != folder and (beside / "config.json").is_file()
    base = beside if is_model else given.trained_on
    return (
        f"{given.folder} is {what}, trained on {given.trained_on}: give --model-base {base}, or "
        "the folder where you keep that model (with launch: --model PATH@BASE)."
    )
