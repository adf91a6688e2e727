"""LoRA weights in LLaVA's layout, added to the base they were trained on."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch

from llava_serve.checkpoints.adapters import AdapterConfig, read_lora
from llava_serve.checkpoints.detect import weight_files
from llava_serve.checkpoints.resolve import TRAINABLES
from llava_serve.checkpoints.weights import Weight, Weights, open_file
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

_PEFT = "base_model.model."
_UNSUPPORTED = ("use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save")


def apply(base: Weights, folder: Path) -> Weights:
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
    adapter: Weights = {}
    for path in weight_files(folder):
        adapter |= open_file(path)
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
