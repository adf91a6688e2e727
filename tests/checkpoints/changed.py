"""Files of a checkpoint's copy, changed before it is loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def set_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps(content), encoding="utf-8")


def change_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    is_pickled = path.suffix == ".bin"
    weights = torch.load(path, weights_only=True) if is_pickled else load_file(path)
    change(weights)
    write_weights(weights, path)


def write_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    if path.suffix == ".bin":
        torch.save(weights, path)
    else:
        save_file(weights, path, metadata={"format": "pt"})


def write_shards(
    weights: dict[str, torch.Tensor], folder: Path, suffix: str, count: int
) -> dict[str, str]:
    """Write so many files without an index; return which one each weight is in."""
    stem = "pytorch_model" if suffix == "bin" else "model"
    files = [f"{stem}-{i + 1:05}-of-{count:05}.{suffix}" for i in range(count)]
    places = {name: files[i % count] for i, name in enumerate(sorted(weights))}
    for file in files:
        part = {name: value for name, value in weights.items() if places[name] == file}
        write_weights(part, folder / file)
    return places


def write_index(path: Path, places: dict[str, str]) -> None:
    path.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
