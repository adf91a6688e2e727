"""Which folders a checkpoint in LLaVA's original layout is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llava_serve.checkpoints.detect import Found, read_json
from llava_serve.checkpoints.hub import folder_of
from llava_serve.errors import CheckpointError

Part = Literal["model", "lora", "projector"]

PROJECTOR = "mm_projector.bin"
TRAINABLES = "non_lora_trainables.bin"


@dataclass(frozen=True, slots=True)
class Source:
    """The folders of one checkpoint.

    `folder` was given; it is the whole model, or a part that changes the model in `base`. `config`
    is LLaVA's config.json, with its `mm_*` keys.
    """

    folder: Path
    part: Part
    base: Path | None
    config: dict[str, Any]

    @property
    def model_folder(self) -> Path:
        """Where the language model and its tokenizer are."""
        return self.base or self.folder


def source_of(given: Found, model_base: str | None) -> Source:
    """Bring the given folder and `--model-base` together.

    Raises:
        CheckpointError: a base is missing, not needed, or not what this part was trained on.
    """
    part = _part(given)
    if part == "model":
        if model_base is not None:
            raise CheckpointError(
                f"{given.folder} is a whole model and needs no base: leave out --model-base."
            )
        return Source(given.folder, part, None, given.config)
    if model_base is None:
        raise CheckpointError(_needs_base(given, part))
    base = folder_of(model_base)
    if not (base / "config.json").exists():
        raise CheckpointError(
            f"--model-base {model_base} is no model: it has no config.json. "
            f"Give the folder of {_trained_on(given)}."
        )
    config = _config(given.folder, base)
    return Source(given.folder, part, base, config)


def _part(given: Found) -> Part:
    if (given.folder / "adapter_config.json").exists():
        return "lora"
    if (given.folder / PROJECTOR).exists() and not any(
        any(given.folder.glob(pattern)) for pattern in ("model*.safetensors", "pytorch_model*.bin")
    ):
        return "projector"
    return "model"


def _config(folder: Path, base: Path) -> dict[str, Any]:
    for place in (folder, base):
        path = place / "config.json"
        if path.exists() and "mm_vision_tower" in (config := read_json(path)):
            return config
    raise CheckpointError(
        f"neither {folder} nor --model-base {base} has a config.json with LLaVA's settings "
        "(mm_vision_tower and others). Copy the one that training wrote beside the weights."
    )


def _needs_base(given: Found, part: Part) -> str:
    what = "an adapter (LoRA)" if part == "lora" else f"only a projector ({PROJECTOR})"
    trained_on = _trained_on(given)
    return (
        f"{given.folder} is {what}, trained on {trained_on}: give --model-base {trained_on}, or "
        "the folder where you keep that model."
    )


def _trained_on(given: Found) -> str:
    config = given.folder / "config.json"
    named = [given.config.get("base_model_name_or_path")]
    if config.exists():
        named.append(read_json(config).get("_name_or_path"))
    return next((str(name) for name in named if name), "an unnamed model")
