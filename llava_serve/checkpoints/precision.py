"""Where the weights go and in what precision, decided before anything is loaded."""

import importlib.util
import logging
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from llava_serve.checkpoints import placement, quantization
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

logger = logging.getLogger(__name__)


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
        bits = ""
        if self.quantization is not None:
            bits = ", language model in " + (
                "4 bits" if self.quantization.load_in_4bit else "8 bits"
            )
        return f"{self.dtype} on {self.place}{bits}, attention {self.attention}"

    @property
    def place(self) -> str:
        """The device, or how many."""
        gpus = len(self.gpu_limits or {})
        return f"{gpus} GPUs" if gpus > 1 else str(self.device)


def choose(config: ModelConfig, checkpoint: dict[str, Any]) -> Precision:
    """Decide from the flags, this machine and the checkpoint's config.json.

    Raises:
        CheckpointError: this machine cannot do what the flags ask for.
    """
    device = _device(config.device)
    dtype = _dtype(config.dtype, device, checkpoint)
    if config.use_flash_attn:
        _require_flash_attention(device, dtype)
    attention = "flash_attention_2" if config.use_flash_attn else "sdpa"
    precision = Precision(
        device,
        dtype,
        quantization.choose(config, dtype),
        attention,
        placement.gpu_limits(config, device),
    )
    logger.info("precision: %s", precision)
    return precision


def _device(asked: str) -> torch.device:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if asked == "auto":
        asked = next(name for name, there in available.items() if there)
    if not available[asked]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise CheckpointError(
            f"--device {asked}: PyTorch {torch.__version__} finds no such device here, only "
            f"{there}. Use --device auto, or install a PyTorch build for {asked}."
        )
    return torch.device(asked)


def _dtype(asked: str, device: torch.device, checkpoint: dict[str, Any]) -> torch.dtype:
    if asked == "auto":
        if device.type == "cpu":
            return torch.float32  # half precision is slower there, or not implemented
        text = checkpoint.get("text_config") or {}
        named = [
            config.get(key) for config in (checkpoint, text) for key in ("dtype", "torch_dtype")
        ]
        asked = next((str(name) for name in named if name), "bfloat16")
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
