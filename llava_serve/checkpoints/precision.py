"""Precision, devices and quantisation of a load, decided before anything is loaded."""

import importlib.util
import logging
from dataclasses import dataclass

import torch
from transformers import BitsAndBytesConfig

from llava_serve.args import bytes_of
from llava_serve.checkpoints.memory import Stored, free_bytes
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)

# What quantisation leaves alone: the image's way into the language model, and its last layer.
_UNQUANTISED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]


@dataclass(frozen=True, slots=True)
class Precision:
    """`quantization` is None for plain weights; `attention` is a name transformers knows.

    `gpu_limits` are the bytes of weights that each GPU may hold, where the flags limit them.
    """

    device: torch.device
    dtype: torch.dtype
    quantization: BitsAndBytesConfig | None
    attention: str
    gpu_limits: dict[int, int] | None = None

    def __str__(self) -> str:
        bits = "" if self.quantization is None else f", language model in {self.stored}"
        return f"{self.dtype} on {self.place}{bits}, attention {self.attention}"

    @property
    def stored(self) -> Stored:
        """How the matrices of the language model are stored."""
        if self.quantization is not None:
            return "4 bits" if self.quantization.load_in_4bit else "8 bits"
        return "float32" if self.dtype == torch.float32 else "16 bits"

    @property
    def place(self) -> str:
        """The device, or how many."""
        gpus = len(self.gpu_limits or {})
        return f"{gpus} GPUs" if gpus > 1 else str(self.device)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the flags ask of a load, whatever layout the checkpoint has.

    `conv_mode` and `aspect` are None where the checkpoint itself decides. `slots` is how many
    answers will be made at once.
    """

    precision: Precision
    name: str
    conv_mode: str | None = None
    aspect: str | None = None
    slots: int = 1
    chat_template: str | None = None  # the jinja source of one to use instead


def choose(config: ModelConfig, stored_dtype: str | None) -> Precision:
    """Decide from the flags, this machine and the precision that config.json names.

    Raises:
        CheckpointError: this machine cannot do what the flags ask for.
    """
    device = _device(config.device)
    dtype = _dtype(config.dtype, device, stored_dtype)
    if config.use_flash_attn:
        _require_flash_attention(device, dtype)
    attention = "flash_attention_2" if config.use_flash_attn else "sdpa"
    quantization = _quantization(config, dtype)
    precision = Precision(device, dtype, quantization, attention, gpu_limits(config, device))
    logger.info("precision: %s", precision)
    return precision


def _device(asked: str) -> torch.device:
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    devices = [*(name for name, is_there in found.items() if is_there), "cpu"]
    if asked == "auto":
        asked = devices[0]
    if asked not in devices:
        raise CheckpointError(
            f"--device {asked}: PyTorch {torch.__version__} finds no such device here, only "
            f"{', '.join(devices)}. Use --device auto, or install a PyTorch build for {asked}."
        )
    return torch.device(asked)


def _dtype(asked: str, device: torch.device, stored: str | None) -> torch.dtype:
    if asked == "auto":
        if device.type == "cpu":
            return torch.float32  # half precision is slower there, or not implemented
        asked = stored or "bfloat16"
    dtype = getattr(torch, asked.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise CheckpointError(f"config.json names the unknown precision {asked!r}; give --dtype.")
    return dtype


def _require_flash_attention(device: torch.device, dtype: torch.dtype) -> None:
    if device.type != "cuda":
        reason = f"the model runs on {device.type} and FlashAttention 2 needs CUDA"
    elif importlib.util.find_spec("flash_attn") is None:
        reason = "the package flash-attn is not installed"
    elif dtype == torch.float32:
        reason = "FlashAttention 2 computes in 16 bits and the precision is float32"
    else:
        return
    raise CheckpointError(f"--use-flash-attn: {reason}. Leave the flag out, or change that.")


def _quantization(config: ModelConfig, dtype: torch.dtype) -> BitsAndBytesConfig | None:
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


def gpu_limits(config: ModelConfig, device: torch.device) -> dict[int, int] | None:
    """Return the bytes of weights that each GPU may hold; None where no flag concerns it.

    Raises:
        CheckpointError: this machine has no such GPUs.
    """
    if config.num_gpus == 1 and config.max_gpu_memory is None:
        return None
    flag = f"--num-gpus {config.num_gpus}"
    if config.num_gpus == 1:
        flag = f"--max-gpu-memory {config.max_gpu_memory}"
    if device.type != "cuda":
        raise CheckpointError(
            f"{flag}: the model runs on {device.type}, and only CUDA devices have memory to "
            "divide. Leave the flag out."
        )
    count = torch.cuda.device_count()
    if config.num_gpus > count:
        raise CheckpointError(
            f"{flag}: PyTorch finds {count} CUDA device{'s' if count != 1 else ''} here. "
            f"Give --num-gpus {count}, or make more visible (CUDA_VISIBLE_DEVICES)."
        )
    free = {index: free_bytes(torch.device("cuda", index)) for index in range(config.num_gpus)}
    if config.max_gpu_memory is None:
        return free
    most = bytes_of(config.max_gpu_memory)
    return {index: min(most, bytes_) for index, bytes_ in free.items()}
