"""What bitsandbytes is told, and which of its ways through a layer fit the layer."""

import importlib.util
from typing import Any

import torch
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


def avoid_packing(model: torch.nn.Module) -> None:
    """Keep bitsandbytes from packing matrices whose blocks run over the end of a row.

    On CPUs with AVX512-BF16 it packs every 4-bit matrix when it is first used, and fails where a
    row is no whole number of blocks; unpacked, such a matrix multiplies like any other.
    """
    for module in model.modules():
        packed: Any = module
        if getattr(module, "support_avx512bf16_for_cpu", False):
            block = packed.weight.quant_state.blocksize
            is_whole = packed.in_features % block == 0 and packed.out_features % _PACKED_ROWS == 0
            packed.support_avx512bf16_for_cpu = is_whole
