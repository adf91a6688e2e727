"""On which GPUs the layers of a model lie, and how much memory they may take there."""

import torch

from llava_serve.args import bytes_of
from llava_serve.config import ModelConfig
from llava_serve.errors import CheckpointError

_OFFLOADED = ("cpu", "disk", "meta")


def gpu_limits(config: ModelConfig, device: torch.device) -> dict[int, int] | None:
    """Return the bytes of weights that each GPU may hold; None where no flag concerns it.

    Raises:
        CheckpointError: this machine has no such GPUs.
    """
    if config.num_gpus == 1 and config.max_gpu_memory is None:
        return None
    flag = (
        f"--num-gpus {config.num_gpus}"
        if config.num_gpus > 1
        else f"--max-gpu-memory {config.max_gpu_memory}"
    )
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
    free = {index: torch.cuda.mem_get_info(index)[0] for index in range(config.num_gpus)}
    if config.max_gpu_memory is None:
        return free
    most = bytes_of(config.max_gpu_memory)
    return {index: min(most, bytes_) for index, bytes_ in free.items()}


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
