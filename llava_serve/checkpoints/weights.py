"""Weight files, opened lazily: names and shapes at once, numbers when a loader asks for them."""

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from llava_serve.checkpoints.detect import weight_files
from llava_serve.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that is read when it is indexed, which is how transformers' loader reads.

    `itemsize` is the bytes of one number as stored.
    """

    shape: tuple[int, ...]
    itemsize: int
    read: Callable[[], torch.Tensor]

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self.read()[index]

    def is_floating_point(self) -> bool:
        """Answer what transformers asks of the weights of a model that is saved quantised."""
        return self.read().is_floating_point()


Weights = dict[str, Weight]


def held(tensor: torch.Tensor) -> Weight:
    """Return a weight that is in memory, or mapped into it, already."""
    return Weight(tuple(tensor.shape), tensor.element_size(), lambda: tensor)


def open_folder(folder: Path) -> Weights:
    """Open all weight files of a model, sharded or not; safetensors before `.bin`.

    Raises:
        CheckpointError: there are none, a shard is missing, or a file cannot be read.
    """
    weights: Weights = {}
    for path in weight_files(folder):
        weights |= open_file(path)
    return weights


def open_file(path: Path) -> Weights:
    """Open one `.safetensors` or `.bin` file; of the latter nothing but tensors is ever unpickled.

    Raises:
        CheckpointError: the file is broken, or holds more than tensors.
    """
    try:
        return _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    except pickle.UnpicklingError as exc:
        raise CheckpointError(
            f"{path} needs more than tensors to be unpickled, and doing that runs whatever code "
            f"the file brings, so it is not loaded ({str(exc).splitlines()[0]}). "
            "Convert it to safetensors where you trust it."
        ) from exc
    except (OSError, RuntimeError, ValueError, EOFError) as exc:
        raise CheckpointError(
            f"{path} cannot be read as weights: {exc}. Repeat the download."
        ) from exc


def _safetensors(path: Path) -> Weights:
    """Read the header only; torch maps the file when the first of its weights is read."""

    @cache
    def opened() -> Any:
        return safe_open(path, framework="pt")

    def weight(name: str, header: Any) -> Weight:
        itemsize = _BITS.get(header.get_dtype(), 16) // 8
        return Weight(tuple(header.get_shape()), itemsize, lambda: opened().get_tensor(name))

    try:
        # Not by torch, which maps all of a file at once, as memory that it may write to.
        with safe_open(path, framework="np") as file:
            return {name: weight(name, file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as exc:
        raise ValueError(_cut_off(path) or exc) from exc


def _cut_off(path: Path) -> str | None:
    """Say how much there is of a file that was cut off; the library does not.

    Source: huggingface/safetensors README, "Format".
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= size else b""
    if not (ends := re.findall(rb'"data_offsets":\s*\[\s*\d+,\s*(\d+)', header)):
        return "it is no safetensors file, or was cut off in its header"
    end = 8 + length + max(map(int, ends))
    return f"it has {size} of {end} bytes" if end > size else None


_BITS = {"F64": 64, "F32": 32, "I64": 64, "I32": 32, "F16": 16, "BF16": 16, "I8": 8, "U8": 8}


def _pickled(path: Path) -> Weights:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as exc:
        if "mmap" not in str(exc):
            raise
        # Files of PyTorch before 1.6 are no archives and cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, no named tensors")
    return {
        name: held(tensor) for name, tensor in content.items() if isinstance(tensor, torch.Tensor)
    }
