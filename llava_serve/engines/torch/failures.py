"""Failures of torch, translated: whose fault, how far it reaches, what to do."""

import logging
import re

import torch

from llava_serve.errors import EngineFailure, EngineLost, OutOfMemory, ServeError

logger = logging.getLogger(__name__)

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
_ASKED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
# After one of these every further call on the device fails as well.
_STICKY = ("CUDA error", "device-side assert", "illegal memory access", "cuDNN error", "HIP error")


def is_sticky(exc: BaseException) -> bool:
    """Say whether the device is lost to this process."""
    if not isinstance(exc, RuntimeError) or _is_out_of_memory(exc):
        return False
    return any(mark in str(exc) for mark in _STICKY)


def translate(exc: BaseException, device: torch.device) -> ServeError:
    """Return what the caller is told; the cause goes to the log, unless it is the caller's."""
    if isinstance(exc, ServeError):
        return exc
    logger.error("the model failed", exc_info=exc)
    if _is_out_of_memory(exc):
        asked = _ASKED.search(str(exc))
        needs = f"{asked[1]} more memory" if asked else "more memory than there is"
        return OutOfMemory(f"the request needs {needs}, and {_free(device)}")
    if is_sticky(exc):
        return EngineLost(
            f"the device {device} failed and cannot be used until this worker is restarted"
        )
    return EngineFailure("the model failed on this request; the cause is in the worker's log")


def release_memory(device: torch.device) -> None:
    """Hand cached blocks back after an out-of-memory error, so that the next request has them."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _is_out_of_memory(exc: BaseException) -> bool:
    if isinstance(exc, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(exc, RuntimeError) and any(mark in str(exc) for mark in _NO_MEMORY)


def _free(device: torch.device) -> str:
    if device.type != "cuda":
        return f"the device {device} has too little left"
    free, total = torch.cuda.mem_get_info(device)
    return f"{device} has {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
