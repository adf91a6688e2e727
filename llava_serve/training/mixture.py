"""Mixture: which entries of which files are trained on, and how many of each file."""

import math
import random
import re
from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from llava_serve.errors import CommandError
from llava_serve.training.data_file import DataFile
from llava_serve.training.sample import TrainingSample, sample_of

_BRACES = re.compile(r"\{([^{}]*)\}")
_STRATEGY = re.compile(r"(first|end|random):(\d+(?:\.\d+)?)(%?)")
_KEYS = {"json_path", "sampling_strategy"}
_REMEDY = (
    "Write datasets: with a json_path and a sampling_strategy for each, one of all, first:N, end:N "
    "and random:N, where N may be a fraction such as 10%."
)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Samples by their number, from 0, in the order of the files and of their entries.

    `numbers` has the entries that were chosen of each of the `files`.
    """

    files: tuple[DataFile, ...]
    numbers: tuple["array[int]", ...]

    def __len__(self) -> int:
        return sum(map(len, self.numbers))

    def sample(self, index: int) -> TrainingSample:
        """Read a sample.

        Raises:
            BrokenSample: nothing can be learnt from it.
        """
        file, number = self._entry(index)
        return sample_of(file.entry(number))

    def place(self, index: int) -> str:
        """Say where a sample comes from: its file, and its line or entry."""
        file, number = self._entry(index)
        return file.place(number)

    def without(self, indices: Collection[int]) -> "Mixture":
        """Return the mixture without some samples."""
        left_out = frozenset(indices)
        kept, start = [], 0
        for numbers in self.numbers:
            places = enumerate(numbers, start)
            kept.append(array("q", (number for i, number in places if i not in left_out)))
            start += len(numbers)
        return Mixture(self.files, tuple(kept))

    def _entry(self, index: int) -> tuple[DataFile, int]:
        at = index
        for file, numbers in zip(self.files, self.numbers, strict=True):
            if at < len(numbers):
                return file, numbers[at]
            at -= len(numbers)
        raise IndexError(index)


def open_mixture(data_path: str, seed: int = 0) -> Mixture:
    """Open what `data_path` names: a .json or .jsonl file, several as `{a,b}.json`, or a .yaml.

    The latter is LLaVA-NeXT's list of files with sampling strategies. What is drawn at random
    depends on `seed` and the file's path alone. Paths are relative to the working folder.

    Raises:
        CommandError: a file cannot be read, or the list is not of this form.

    Source: LLaVA-VL/LLaVA-NeXT@df17966, llava/train/train.py::LazySupervisedDataset.
    """
    files, numbers = [], []
    for path, strategy in _named(data_path):
        file = DataFile(Path(path))
        files.append(file)
        numbers.append(array("q", _chosen(strategy, len(file), f"{seed} {path}")))
    if not any(map(len, numbers)):
        raise CommandError(f"{data_path} has no entry to train on", "Name a file with some.")
    return Mixture(tuple(files), tuple(numbers))


def _named(data_path: str) -> Iterator[tuple[str, str]]:
    """Yield each file, with its sampling strategy."""
    if not data_path.endswith((".yaml", ".yml")):
        yield from ((path, "all") for path in _expanded(data_path))
        return
    try:
        listed = yaml.safe_load(Path(data_path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise CommandError(f"{data_path} cannot be read: {exc}", _REMEDY) from exc
    datasets = listed.get("datasets") if isinstance(listed, dict) else None
    if not isinstance(datasets, list) or not datasets:
        raise CommandError(f"{data_path} has no list of datasets", _REMEDY)
    for number, dataset in enumerate(datasets, start=1):
        path, strategy = _dataset(dataset, f"{data_path}, dataset {number},")
        yield from ((each, strategy) for each in _expanded(path))


def _dataset(listed: object, place: str) -> tuple[str, str]:
    fields: Mapping[Any, Any] = listed if isinstance(listed, dict) else {}
    if unknown := sorted(map(str, fields.keys() - _KEYS)):
        raise CommandError(f"{place} has {', '.join(unknown)}, which is not known", _REMEDY)
    path, strategy = fields.get("json_path"), fields.get("sampling_strategy", "all")
    if not isinstance(path, str) or not path:
        raise CommandError(f"{place} has no json_path", _REMEDY)
    found = _STRATEGY.fullmatch(str(strategy))
    if strategy != "all" and (found is None or (found[3] == "" and "." in found[2])):
        raise CommandError(f"{place} has the sampling_strategy {strategy!r}", _REMEDY)
    return path, str(strategy)


def _expanded(path: str) -> list[str]:
    """Return the paths that a path with `{a,b}` stands for, as a shell would."""
    found = _BRACES.search(path)
    if found is None:
        return [path]
    paths = (path[: found.start()] + each + path[found.end() :] for each in found[1].split(","))
    return list(chain.from_iterable(map(_expanded, paths)))


def _chosen(strategy: str, total: int, seed: str) -> list[int] | range:
    """Return the numbers of the entries that are taken, in order."""
    found = _STRATEGY.fullmatch(strategy)
    if found is None:
        return range(total)
    wanted = math.ceil(float(found[2]) * total / 100) if found[3] else int(found[2])
    wanted = min(wanted, total)
    if found[1] == "first":
        return range(wanted)
    if found[1] == "end":
        return range(total - wanted, total)
    return sorted(random.Random(seed).sample(range(total), wanted))
