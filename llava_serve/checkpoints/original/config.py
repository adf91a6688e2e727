"""Configuration of transformers' classes, made from LLaVA's config.json."""

from typing import Any

from transformers import CONFIG_MAPPING, LlavaConfig, LlavaNextConfig, LlavaOnevisionConfig

from llava_serve.checkpoints.original.packing import Packing
from llava_serve.checkpoints.original.tower import VisionTower
from llava_serve.checkpoints.original.weights import PROJECTORS, is_linear
from llava_serve.checkpoints.resolve import OriginalCheckpoint
from llava_serve.checkpoints.settings import OriginalConfig, usable
from llava_serve.errors import CheckpointError

# model_type and architectures of published checkpoints, in lower case.
_FAMILIES = {
    "llava": "llama",
    "llavallamaforcausallm": "llama",
    "llava_llama": "llama",
    "llavamistralforcausallm": "mistral",
    "llava_mistral": "mistral",
    "llavaqwenforcausallm": "qwen2",
    "llava_qwen": "qwen2",
}
_NOT_TEXT = {"architectures", "dtype", "model_type", "rope_parameters", "transformers_version"}


def language_model(config: OriginalConfig) -> str:
    """Return transformers' name of the language model's family.

    Raises:
        CheckpointError: it is of a family that does not load.
    """
    names = [*(config.architectures or []), config.model_type or ""]
    for name in names:
        if (family := _FAMILIES.get(name.lower())) is not None:
            return family
    raise CheckpointError(
        f"a LLaVA model of the kind {' / '.join(names)} does not load; "
        "its language model must be a Llama, Mistral or Qwen2."
    )


def text_config(checkpoint: OriginalCheckpoint, vocabulary: int) -> Any:
    """Configure the language model, whose embedding table has `vocabulary` rows.

    Raises:
        CheckpointError: transformers refuses a value.
    """
    config = checkpoint.config
    config_class: Any = CONFIG_MAPPING[language_model(config)]
    known = set(config_class().to_dict()) - _NOT_TEXT
    settings = {name: value for name, value in config.raw.items() if name in known}
    scaling = config.rope_scaling.raw if config.rope_scaling else {}
    rope = {"rope_type": scaling.pop("type", scaling.pop("rope_type", "default")), **scaling}
    rope.setdefault("rope_theta", float(config.rope_theta or 10000))
    with usable(checkpoint.path):
        return config_class(**settings | {"vocab_size": vocabulary, "rope_parameters": rope})


def model_config(
    checkpoint: OriginalCheckpoint, text: Any, tower: VisionTower, packing: Packing
) -> Any:
    """Configure the whole model.

    OneVision's class stands for what it was made for, LLaVA-NeXT's for every other model with a
    newline between lines of patches, and LLaVA's for those without.

    Raises:
        CheckpointError: the tower's features are not as wide as the projector takes them, or the
            projector is of a kind that does not load.
    """
    width: Any = tower.config.hidden_size
    if (asked := checkpoint.config.mm_hidden_size) not in (None, width):
        raise CheckpointError(
            f"{checkpoint.path} says mm_hidden_size {asked}, and the vision tower "
            f"{tower.name} gives {width} numbers a patch. Correct mm_vision_tower, or put the "
            "tower that the model was trained with in its place."
        )
    settings: dict[str, Any] = {
        "vision_config": tower.config,
        "text_config": text,
        "vision_feature_layer": tower.layer,
        "vision_feature_select_strategy": tower.select,
        "projector_hidden_act": "linear" if is_linear(projector_of(checkpoint)) else "gelu",
        "tie_word_embeddings": bool(text.tie_word_embeddings),
    }
    if not packing.has_newline:
        patches = packing.side**2 + tower.has_class_token
        return LlavaConfig(**settings, image_seq_length=patches)
    if packing.canvases:
        settings["image_grid_pinpoints"] = packing.canvases
    if tower.is_siglip:
        return LlavaOnevisionConfig(
            **settings,
            vision_aspect_ratio=packing.aspect if packing.is_tiled else "anyres_max_9",
        )
    return LlavaNextConfig(**settings)


def projector_of(checkpoint: OriginalCheckpoint) -> str:
    """Return the projector's kind.

    Raises:
        CheckpointError: transformers has no class for it.
    """
    kind = checkpoint.config.mm_projector_type or "linear"
    if kind not in PROJECTORS:
        raise CheckpointError(
            f"{checkpoint.path} says mm_projector_type {kind!r}, for which transformers has no "
            f"class; {', '.join(PROJECTORS)} load. Serve this model with the code it was trained "
            "with."
        )
    return kind


def context_length(config: OriginalConfig) -> int:
    """Return how many tokens the model takes: beyond, the original code cuts the end off."""
    limits = [
        config.max_position_embeddings,
        config.tokenizer_model_max_length,
        config.max_sequence_length,
    ]
    return min(filter(None, limits), default=2048)
