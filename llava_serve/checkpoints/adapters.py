"""LoRA adapters: those in peft's layout merged into a model, those in LLaVA's into its weights."""

import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from llava_serve.checkpoints.detect import weight_files
from llava_serve.checkpoints.resolve import TRAINABLES
from llava_serve.checkpoints.settings import Number, SettingsFile, read
from llava_serve.checkpoints.weights import Weight, Weights, open_file, open_folder
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_PEFT = "base_model.model."
_UNSUPPORTED = ("use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save")


class AdapterConfig(SettingsFile):
    """adapter_config.json of a LoRA in peft's layout."""

    peft_type: Any = None
    lora_alpha: Number = 8  # Source: peft 0.19, LoraConfig
    use_rslora: Any = None


def read_lora(folder: Path) -> AdapterConfig:
    """Read adapter_config.json in `folder`.

    Raises:
        CheckpointError: it is of another type than LoRA, or a value in it cannot be used.
    """
    config = read(AdapterConfig, folder / "adapter_config.json")
    if config.peft_type != "LORA":
        raise CheckpointError(
            f"the adapter {folder} is of type {config.peft_type!r}; only LORA adapters load."
        )
    return config


def apply_to_model(model: PreTrainedModel, folder: Path, *, is_quantised: bool) -> None:
    """Change `model` in place so that it answers as the adapter in `folder` was trained to.

    The adapter is merged into the weights, so it costs nothing per token; beside quantised weights
    it stays apart, because merging would round it away.

    Raises:
        CheckpointError: it is no LoRA, its weights are missing, or it does not fit the model; the
            message names the weights.
    """
    # It takes seconds to import.
    from peft import PeftConfig, get_peft_model
    from peft.utils import load_peft_weights, set_peft_model_state_dict

    read_lora(folder)
    weight_files(folder)
    try:
        config = PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        with warnings.catch_warnings():
            # peft 0.21 still asks transformers by a name that goes away with version 6.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            # The base is where --model-base says, whatever it was called in training.
            warnings.filterwarnings("ignore", "The PEFT config's `base_model_name_or_path`")
            tuned = get_peft_model(model, config)
        weights = load_peft_weights(str(folder), device=str(model.device))
        result: Any = set_peft_model_state_dict(tuned, weights)
    except (ValueError, RuntimeError, KeyError, OSError) as exc:
        reason = "; ".join(str(exc).split("\n\t")[:3])  # torch gives a line to each weight
        raise CheckpointError(
            f"the adapter {folder} does not fit --model-base {model.name_or_path}: {reason}"
        ) from exc
    missing = [key for key in result.missing_keys if "lora_" in key]
    _require_none("lacks", missing, folder)
    _require_none("has unknown", list(result.unexpected_keys), folder)
    if is_quantised:
        logger.info("adapter %s kept beside the quantised weights", folder)
        return
    tuned.merge_and_unload()
    logger.info("adapter %s merged into the weights", folder)


def _require_none(problem: str, keys: list[str], folder: Path) -> None:
    if keys:
        shown = ", ".join(sorted(keys)[:5])
        raise CheckpointError(
            f"the adapter {folder} {problem} {len(keys)} weights: {shown}. "
            "It was trained on another model than --model-base."
        )


def apply_to_weights(base: Weights, folder: Path) -> Weights:
    """Return the base's weights as the adapter in `folder` changes them, each when it is read.

    Raises:
        CheckpointError: the adapter needs weights the base lacks, they have another shape, or it
            holds others than a LoRA's.
    """
    config = read_lora(folder)
    if given := [name for name in _UNSUPPORTED if config.raw.get(name)]:
        raise CheckpointError(
            f"the adapter {folder} sets {', '.join(given)}, which this layout does not load. "
            "Merge it into its base with the code that trained it."
        )
    weights = dict(base)
    if (folder / TRAINABLES).exists():
        weights |= _trainables(open_file(folder / TRAINABLES))
    adapter = open_folder(folder)
    downs = {
        name.removeprefix(_PEFT).split(".lora_A")[0] + ".weight": name
        for name in adapter
        if ".lora_A" in name
    }
    if not downs:
        raise CheckpointError(f"the adapter {folder} holds no LoRA weights (*.lora_A.weight).")
    used = {*downs.values(), *(name.replace("lora_A", "lora_B") for name in downs.values())}
    if left := sorted(set(adapter) - used):
        raise CheckpointError(
            f"the adapter {folder} holds {len(left)} weights that are no part of a LoRA: "
            f"{', '.join(left[:5])}. Merge it into its base with the code that trained it."
        )
    # Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py: the tower is loaded after the
    # adapter, which therefore never reaches it.
    ignored = [name for name in downs if "vision_tower" in name and name not in weights]
    if ignored:
        logger.warning("%d weights of the adapter are for the vision tower: ignored", len(ignored))
    for target in sorted(set(downs) - set(ignored)):
        name = downs[target]
        up = adapter.get(name.replace("lora_A", "lora_B"))
        try:
            weights[target] = _merged(weights.get(target), adapter[name], up, _scale(config))
        except ValueError as exc:
            raise CheckpointError(
                f"the adapter {folder} does not fit --model-base: {target} {exc}. "
                "Give the base it was trained on."
            ) from exc
    logger.info("the adapter %s changes %d weights of its base", folder, len(downs) - len(ignored))
    return weights


def _trainables(weights: Weights) -> Weights:
    """Undo the prefixes that peft put before the names.

    Source: haotian-liu/LLaVA@c121f04 llava/model/builder.py::load_pretrained_model.
    """
    named = {name.removeprefix("base_model."): weight for name, weight in weights.items()}
    if any(name.startswith("model.model.") for name in named):
        named = {name.removeprefix("model."): weight for name, weight in named.items()}
    return named


def _scale(config: AdapterConfig) -> Callable[[int], float]:
    """Return what the product of a rank is multiplied with.

    Source: Hu et al. 2021, LoRA, section 4.1; with `use_rslora`, Kalajdzievski 2023.
    """
    alpha = float(config.lora_alpha)
    if config.use_rslora:
        return lambda rank: alpha / math.sqrt(rank)
    return lambda rank: alpha / rank


def _merged(
    base: Weight | None, down: Weight, up: Weight | None, scale: Callable[[int], float]
) -> Weight:
    if base is None:
        raise ValueError("is not in the base")
    if up is None:
        raise ValueError("has no lora_B in the adapter")
    if base.shape != (up.shape[0], down.shape[1]):
        asked = (up.shape[0], down.shape[1])
        raise ValueError(f"is {base.shape} in the base and {asked} in the adapter")

    def read() -> torch.Tensor:
        matrix = base.read()
        change = up.read().float() @ down.read().float()
        return matrix.float().add(change, alpha=scale(down.shape[0])).to(matrix.dtype)

    return Weight(base.shape, base.itemsize, read)
