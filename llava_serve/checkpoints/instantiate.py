"""One of transformers' classes with every weight accounted for, from files or from lazy weights."""

import logging
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from llava_serve.checkpoints.placement import loading_options, require_on_gpus
from llava_serve.checkpoints.precision import Precision
from llava_serve.checkpoints.quantization import fit_to_cpu
from llava_serve.errors import CheckpointError

# Written by older versions of transformers, or for parts that LLaVA never reads; none can change
# an answer.
_HARMLESS = re.compile(
    r"rotary_emb\.inv_freq$|\.position_ids$|vision_tower\.(vision_model\.)?head\.|^(model\.)?image_newline$"
)

# `_account` tells the same in a sentence, and refuses it.
logging.getLogger("transformers.modeling_utils").addFilter(
    lambda record: "LOAD REPORT" not in record.getMessage()
)


def instantiate(
    model_class: Any, precision: Precision, folder: Path, base: Path | None = None, **source: Any
) -> PreTrainedModel:
    """Build a model; `source` says where transformers' `from_pretrained` finds it.

    Raises:
        CheckpointError: a file is broken, or weights are missing, left over or of another shape;
            the message names them, and calls the checkpoint `folder` and its base `base`.
    """
    options: dict[str, Any] = dict(source)
    if precision.quantization is not None:
        options["quantization_config"] = precision.quantization
    try:
        model, info = model_class.from_pretrained(
            dtype=precision.dtype,
            **loading_options(precision.device, precision.gpu_limits),
            attn_implementation=precision.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            local_files_only=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as exc:
        if isinstance(exc, torch.OutOfMemoryError):
            raise CheckpointError(
                f"{folder} does not fit into the memory of {precision.place}: {exc} "
                "Try --load-8bit, --load-4bit or --device cpu."
            ) from exc
        raise CheckpointError(f"the weights in {folder} cannot be loaded: {exc}") from exc
    _account(folder, base, info)
    model.name_or_path = str(folder)
    require_on_gpus(model)
    if precision.quantization is not None:
        fit_to_cpu(model)
    result: PreTrainedModel = model.eval()
    return result


def _account(folder: Path, base: Path | None, info: dict[str, Any]) -> None:
    """Refuse a model of which weights are missing, left over or of another shape."""
    unexpected = sorted(key for key in info["unexpected_keys"] if not _HARMLESS.search(key))
    mismatched = sorted(
        f"{key} is {tuple(held)}, config.json asks for {tuple(asked)}"
        for key, held, asked in info["mismatched_keys"]
    )
    problems = [
        f"{len(names)} {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for what, names in (
            ("are missing", sorted(info["missing_keys"])),
            ("belong to no part of the model", unexpected),
            ("have another shape", mismatched),
        )
        if names
    ]
    if problems and base is not None:
        raise CheckpointError(
            f"{folder} does not fit --model-base {base}: {'; '.join(problems)}. "
            "Give the base it was trained on."
        )
    if problems:
        raise CheckpointError(
            f"the weights in {folder} do not fit its config.json: {'; '.join(problems)}. "
            "The model would answer nonsense, so it is not loaded."
        )
