"""What bitsandbytes is told, and which of its ways through a layer fit the layer."""

import importlib
import importlib.util
from copy import copy
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from transformers import BitsAndBytesConfig

from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

# What quantisation leaves alone: the picture's way into the language model, and its last layer.
_UNQUANTISED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]
# Rows of a matrix that the packed 4-bit weights of CPUs with AVX512-BF16 come in.
# Source: bitsandbytes 0.50, functional.py::_convert_weight_packed_for_cpu.
_PACKED_ROWS = 32


def choose(config: ModelConfig, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """Return the settings for the flags; None where the weights stay as they are.

    Raises:
        CheckpointError: bitsandbytes is not installed.
    """
    if not (config.load_8bit or config.load_4bit):
        return None
    flag = "--load-8bit" if config.load_8bit else "--load-4bit"
    if importlib.util.find_spec("bitsandbytes") is None:
        raise CheckpointError(
            f"{flag} needs the package bitsandbytes, which is not installed. "
            "Install it with `pip install bitsandbytes`, or leave the flag out."
        )
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_8bit=config.load_8bit,
        load_in_4bit=config.load_4bit,
        llm_int8_skip_modules=_UNQUANTISED,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
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
