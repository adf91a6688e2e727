"""Which folders a checkpoint in LLaVA's original layout is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llava_serve.checkpoints.base import needs_base
from llava_serve.checkpoints.detect import Found, read_json, refuse_lfs_pointers
from llava_serve.checkpoints.hub import folder_of
from llava_serve.checkpoints.settings import (
    COUNT,
    FLAG,
    NAMES,
    OBJECT,
    ROPE,
    SHAPE,
    TEXT,
    WHOLE,
    Kinds,
    require,
    require_files,
    require_there,
)
from llava_serve.errors import CheckpointError

Part = Literal["model", "lora", "projector"]

PROJECTOR = "mm_projector.bin"
TRAINABLES = "non_lora_trainables.bin"

_NEEDED = (
    "mm_vision_tower",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
_KINDS: Kinds = {
    **SHAPE,
    "rope_scaling": ROPE,
    "architectures": NAMES,
    "model_type": TEXT,
    "text_config": OBJECT,
    "vocab_size": COUNT,
    "tokenizer_model_max_length": COUNT,
    "max_sequence_length": COUNT,
    "mm_vision_tower": TEXT,
    "mm_hidden_size": COUNT,
    "mm_vision_select_layer": WHOLE,
    "mm_vision_select_feature": TEXT,
    "mm_projector_type": TEXT,
    "mm_patch_merge_type": TEXT,
    "mm_newline_position": TEXT,
    "mm_spatial_pool_mode": TEXT,
    "image_aspect_ratio": TEXT,
    "mm_use_im_start_end": FLAG,
    "mm_use_im_patch_token": FLAG,
    "tune_mm_mlp_adapter": FLAG,
    "tie_word_embeddings": FLAG,
}


@dataclass(frozen=True, slots=True)
class Source:
    """The folders of one checkpoint.

    `folder` was given; it is the whole model, or a part that changes the model in `base`. `config`
    is LLaVA's config.json, with its `mm_*` keys, and `path` the file it was read from.
    """

    folder: Path
    part: Part
    base: Path | None
    config: dict[str, Any]
    path: Path

    @property
    def model_folder(self) -> Path:
        """Where the language model and its tokenizer are."""
        return self.base or self.folder


def source_of(given: Found, model_base: str | None) -> Source:
    """Bring the given folder and `--model-base` together.

    Raises:
        CheckpointError: a base is missing, not needed, or not what this part was trained on, or a
            value in a settings file cannot be used.
    """
    part = _part(given)
    if part == "model":
        if model_base is not None:
            raise CheckpointError(
                f"{given.folder} is a whole model and needs no base: leave out --model-base."
            )
        path = given.folder / "config.json"
        return _checked(Source(given.folder, part, None, given.config, path))
    if model_base is None:
        raise CheckpointError(_needs_base(given, part))
    base = folder_of(model_base)
    if not (base / "config.json").exists():
        raise CheckpointError(
            f"--model-base {model_base} is no model: it has no config.json. "
            f"Give the folder of {_trained_on(given)}."
        )
    refuse_lfs_pointers(base)
    path, config = _config(given.folder, base)
    return _checked(Source(given.folder, part, base, config, path))


def _part(given: Found) -> Part:
    if (given.folder / "adapter_config.json").exists():
        return "lora"
    if (given.folder / PROJECTOR).exists() and not any(
        any(given.folder.glob(pattern)) for pattern in ("model*.safetensors", "pytorch_model*.bin")
    ):
        return "projector"
    return "model"


def _checked(source: Source) -> Source:
    require_there(source.path, source.config, _NEEDED)
    require(source.path, source.config, _KINDS)
    require_files(source.model_folder)
    return source


def _config(folder: Path, base: Path) -> tuple[Path, dict[str, Any]]:
    for place in (folder, base):
        path = place / "config.json"
        if path.exists() and "mm_vision_tower" in (config := read_json(path)):
            return path, config
    raise CheckpointError(
        f"neither {folder} nor --model-base {base} has a config.json with LLaVA's settings "
        "(mm_vision_tower and others). Copy the one that training wrote beside the weights."
    )


def _needs_base(given: Found, part: Part) -> str:
    what = "an adapter (LoRA)" if part == "lora" else f"only a projector ({PROJECTOR})"
    return needs_base(given.folder, what, _trained_on(given))


def _trained_on(given: Found) -> str:
    config = given.folder / "config.json"
    named = [given.config.get("base_model_name_or_path")]
    if config.exists():
        named.append(read_json(config).get("_name_or_path"))
    return next((str(name) for name in named if name), "an unnamed model")
