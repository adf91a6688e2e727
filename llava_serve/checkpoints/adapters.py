"""LoRA adapters in peft's layout, put onto the model they were trained on."""

import logging
import warnings
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from llava_serve.checkpoints.detect import weight_files
from llava_serve.checkpoints.settings import Number, Settings, read
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)


class AdapterConfig(Settings):
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


def apply(model: PreTrainedModel, folder: Path, *, is_quantised: bool) -> None:
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
