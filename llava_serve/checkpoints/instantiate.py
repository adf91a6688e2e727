"""Models of transformers' classes from lazy weights, with every weight accounted for."""

import importlib
import logging
import pickle
import re
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.nn import functional
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, PreTrainedModel

from llava_serve.checkpoints.memory import FLAGS, ParameterCounts, free_bytes, shown
from llava_serve.checkpoints.precision import LoadOptions, Precision
from llava_serve.checkpoints.weights import Weights
from llava_serve.errors import CheckpointError

# Written by older versions of transformers, or for parts that LLaVA never reads; none can change
# an answer.
_HARMLESS = re.compile(
    r"rotary_emb\.inv_freq$|\.position_ids$|vision_tower\.(vision_model\.)?head\.|^(model\.)?image_newline$"
)

# Where accelerate puts what it finds no room for.
_OFFLOADED = ("cpu", "disk", "meta")
# Rows of a matrix that the packed 4-bit weights of CPUs with AVX512-BF16 come in.
# Source: bitsandbytes 0.50, functional.py::_convert_weight_packed_for_cpu.
_PACKED_ROWS = 32

# `_account` tells the same in a sentence, and refuses it.
logging.getLogger("transformers.modeling_utils").addFilter(
    lambda record: "LOAD REPORT" not in record.getMessage()
)


def require_memory(
    counts: ParameterCounts, options: LoadOptions, context: int, folder: Path
) -> None:
    """See that weights and the KV cache of one full context fit into the memory that is free.

    Raises:
        CheckpointError: they do not; the message has the estimate, and what would fit.
    """
    precision, limits = options.precision, options.precision.gpu_limits
    free = free_bytes(precision.device) if limits is None else sum(limits.values())
    stored, rest = precision.stored, precision.dtype.itemsize
    need = counts.weights_bytes(stored, rest) + counts.kv_bytes(stored, context, rest)
    if need <= free:
        return
    vision = counts.vision * rest
    language = counts.weights_bytes(stored, rest) - vision
    one, all_ = (counts.kv_bytes(stored, context * slots, rest) for slots in (1, options.slots))
    needs = {
        flag: counts.weights_bytes(each) + counts.kv_bytes(each, context)
        for each, flag in FLAGS.items()
    }
    fitting = [f"{flag} ({shown(need)})" for flag, need in needs.items() if need <= free]
    remedy = "Not even 4 bits fit: take a smaller model, or a machine with more memory."
    if fitting:
        remedy = f"This would fit: {', '.join(fitting)}."
    raise CheckpointError(
        f"{folder} needs {shown(need)} in {stored} and {precision.place} has {shown(free)} free: "
        f"{shown(language)} for the language model, {shown(vision)} for the vision tower and "
        f"projector, {shown(one)} for a KV cache of one context of {context} tokens "
        f"({shown(all_)} for all {options.slots} slots). {remedy}"
    )


def instantiate(
    config: Any, weights: Weights, precision: Precision, folder: Path, base: Path | None = None
) -> PreTrainedModel:
    """Build a model of the class for `config`; messages name `folder` and its `base`.

    Raises:
        CheckpointError: a file is broken, or weights are missing, left over or of another shape;
            the message names them.
    """
    model_class: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
    bits = precision.quantization
    try:
        model, info = model_class.from_pretrained(
            # Not the folder: transformers chooses among its files in another way than we do.
            pretrained_model_name_or_path=None,
            config=config,
            state_dict=weights,
            dtype=precision.dtype,
            **loading_options(precision.device, precision.gpu_limits),
            attn_implementation=precision.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            local_files_only=True,
            **({} if bits is None else {"quantization_config": bits}),
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
    if bits is not None:
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


def loading_options(
    device: torch.device, limits: dict[int, int] | None
) -> dict[str, str | dict[str, torch.device] | dict[int, int]]:
    """Return what tells transformers, through accelerate, where the parts belong."""
    if limits is None or len(limits) == 1:
        return {"device_map": {"": device}}
    return {"device_map": "balanced", "max_memory": limits}


def require_on_gpus(model: torch.nn.Module) -> None:
    """Refuse a model of which a part would be fetched for every single token.

    Raises:
        CheckpointError: accelerate found no room for a part on the GPUs.
    """
    places: dict[str, object] = getattr(model, "hf_device_map", {})
    if len(places) < 2:
        return
    if out := sorted(name for name, place in places.items() if str(place) in _OFFLOADED):
        raise CheckpointError(
            f"{len(out)} parts found no room on the GPUs: {', '.join(out[:3])}. Give more "
            "--num-gpus or --max-gpu-memory, or load in --load-8bit or --load-4bit."
        )


def fit_to_cpu(model: torch.nn.Module) -> None:
    """Keep bitsandbytes from its ways on a CPU through 4-bit matrices that these do not fit.

    Where a row is no whole number of blocks, it fails to pack a matrix (which it does with every
    one on CPUs with AVX512-BF16), and unpacks it with the scales of other blocks. Such a matrix is
    read as one long row, which gives what a GPU computes.

    Source: measured with bitsandbytes 0.50.2, backends/cpu/ops.py::dequantize_4bit.
    """
    for module in model.modules():
        layer: Any = module
        if type(module).__name__ == "Linear4bit" and layer.weight.device.type == "cpu":
            is_whole = layer.in_features % layer.weight.quant_state.blocksize == 0
            if not is_whole or layer.out_features % _PACKED_ROWS:
                layer.support_avx512bf16_for_cpu = False
            if not is_whole:
                layer.forward = partial(_as_one_row, layer)


def _as_one_row(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    bitsandbytes = importlib.import_module("bitsandbytes.functional")  # an extra, not required
    state = copy(layer.weight.quant_state)
    rows, columns = state.shape
    state.shape = torch.Size([rows * columns])
    matrix = bitsandbytes.dequantize_4bit(layer.weight.data, state).view(rows, columns)
    return functional.linear(inputs, matrix.to(inputs), layer.bias)
