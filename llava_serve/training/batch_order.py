"""Batch order: samples of about one length come together, those with pictures and those without."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class GroupedSampler(Sampler[int]):
    """Draws each sample once an epoch; the order depends on `seed` and the epoch alone.

    `size` samples in a row, which one step of the optimizer takes, are of one of the `kinds`. What
    is left over of each kind comes last.

    Source: haotian-liu/LLaVA@c121f04 llava/train/llava_trainer.py
    ::get_modality_length_grouped_indices.
    """

    def __init__(self, lengths: Sequence[int], kinds: Sequence[int], size: int, seed: int) -> None:
        self._lengths = lengths
        self._kinds = kinds
        self._size = size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is drawn next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        batches: list[list[int]] = []
        left: list[int] = []
        for kind in sorted(set(self._kinds)):
            of_kind = [i for i, each in enumerate(self._kinds) if each == kind]
            lengths = [self._lengths[i] for i in of_kind]
            order = [of_kind[i] for i in _grouped(lengths, self._size, generator)]
            whole = len(order) - len(order) % self._size
            batches += [order[i : i + self._size] for i in range(0, whole, self._size)]
            left += order[whole:]
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield from batches[number]
        yield from left


def _grouped(lengths: list[int], size: int, generator: torch.Generator) -> list[int]:
    group: Any = get_length_grouped_indices
    found: list[int] = group(lengths, size, generator=generator)
    return found
