"""Check of a model: whether its checkpoint loads, as far as its files say, and fits into memory."""

from collections.abc import Mapping
from pathlib import Path

from llava_serve.doctor.finding import Finding
from llava_serve.errors import CheckpointError

_FLAGS = {"8 bits": "--load-8bit --dtype bfloat16", "4 bits": "--load-4bit --dtype bfloat16"}


def check_model(path: str, base: str | None) -> Finding:
    """Compare what the weights and one full context take with what is free, by precision.

    Nothing is fetched from a hub, and no weights are read.
    """
    if not Path(path).expanduser().is_dir():
        return Finding(
            "model",
            "warning",
            f"{path} is no folder here",
            "A worker would fetch it from the hub; if it is a folder, correct the path.",
        )
    # Here, because these import torch and transformers.
    import torch

    from llava_serve.checkpoints import memory
    from llava_serve.checkpoints.inspection import inspect
    from llava_serve.checkpoints.resolve import resolve

    try:
        summary = inspect(resolve(path, base), None, None, ())
    except CheckpointError as exc:
        return Finding("model", "problem", f"{path} cannot be loaded: {exc.message}", exc.remedy)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stored: tuple[memory.Stored, ...] = ("float32", *memory.FLAGS)
    sizes: dict[str, int] = {
        each: summary.counts.total_bytes(each, summary.context) for each in stored
    }
    return finding_of(path, sizes, memory.free_bytes(device), device.type)


def finding_of(path: str, sizes: Mapping[str, int], free: int, device: str) -> Finding:
    """Compare the bytes of each precision, the most precise first, with what is `free`."""
    fitting = [stored for stored, size in sizes.items() if size < free]
    has = f"{free / 1e9:,.1f} GB are free on {device}"
    if not fitting:
        least, size = min(sizes.items(), key=lambda each: each[1])
        return Finding(
            "model",
            "problem",
            f"{path} takes {size / 1e9:,.1f} GB in {least}, and {has}",
            "Choose a smaller model, spread it with --num-gpus, or free memory.",
        )
    takes = f"{path} takes {sizes['16 bits'] / 1e9:,.1f} GB in 16 bits, and {has}"
    if (flags := _FLAGS.get(fitting[0])) is not None:
        return Finding("model", "warning", takes, f"Start its worker with {flags}.")
    return Finding("model", "ok", f"{takes}: it fits in {', '.join(fitting)}")
