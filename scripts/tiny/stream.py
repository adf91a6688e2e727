"""Data loading: endless training batches from a process; equal seed and start, equal batches."""

import os
from collections.abc import Iterator
from random import Random

import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast

from scripts.tiny.batch import Sample, TrainingBatch, collate, encode, tile_batch
from scripts.tiny.dialogue import random_dialogue
from scripts.tiny.recipe import Recipe, training_size
from scripts.tiny.scenes import random_scene
from scripts.tiny.tiles import DenseLabels, Pixels, dense_labels, one_of_several, single
from scripts.tiny.world import draw

_DIALOGUES, _TILES = 32, 48  # a batch
_POOL = 8  # batches drawn at once and sorted by length, so that little is padding
_PRACTICE = 32  # tiles with numbers beside each batch
_REUSE = 0.5  # share of tiles the tower sees a second time: drawing costs more than looking


class DialogueBatches(IterableDataset[TrainingBatch]):
    """Batches of dialogues for stage 2 and the adapter, starting at step `first`."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
        seed: int,
        first: int = 0,
    ) -> None:
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._seed = seed
        self._first = first

    def __iter__(self) -> Iterator[TrainingBatch]:
        pool = self._first // _POOL
        while True:
            rng = Random(f"conversations {self._seed} {pool}")
            drawn = [random_dialogue(rng, self._recipe) for _ in range(_POOL * _DIALOGUES)]
            samples = [
                encode(dialogue, self._tokenizer, base_only=self._recipe.base_only)
                for dialogue in drawn
            ]
            samples.sort(key=lambda sample: len(sample.ids))
            starts = list(range(0, len(samples), _DIALOGUES))
            rng.shuffle(starts)
            for start in starts:
                chosen = samples[start : start + _DIALOGUES]
                _practise(rng, chosen[-1])
                yield collate(chosen, self._tokenizer.pad_token_id)
            pool += 1


class TileBatches(IterableDataset[TrainingBatch]):
    """Batches of tiles with dense labels for stage 1."""

    def __init__(self, seed: int, first: int = 0) -> None:
        self._seed = seed
        self._first = first

    def __iter__(self) -> Iterator[TrainingBatch]:
        rng = Random(f"tiles {self._seed} {self._first}")
        pool: list[tuple[Pixels, DenseLabels]] = []
        while True:
            while len(pool) < 10 * _TILES:
                pool += _random_tiles(rng)
            rng.shuffle(pool)
            taken, pool = pool[:_TILES], pool[_TILES:]
            pool += [tile for tile in taken if rng.random() < _REUSE]
            yield tile_batch([pixels for pixels, _ in taken], [dense for _, dense in taken])


def _practise(rng: Random, sample: Sample) -> None:
    """Add tiles with numbers that no question is about: digits are what the tower learns last."""
    for _ in range(_PRACTICE):
        pixels, dense = _random_tiles(rng, numbers=1.0)[-1]
        sample.frames.append(pixels)
        sample.frame_dense.append(dense)


def _random_tiles(rng: Random, numbers: float = 0.26) -> list[tuple[Pixels, DenseLabels]]:
    size = training_size(rng, 3.0)
    scene = random_scene(rng, size, numbers=numbers)
    image = draw(scene, size)
    tiled = single(image) if rng.random() < 0.75 else one_of_several(image)
    views = list(zip(tiled.pixels, tiled.views, strict=True))
    if size[0] == size[1]:
        views = views[:1]
    return [(pixels, dense_labels(scene, size, view)) for pixels, view in views]


def loader(batches: IterableDataset[TrainingBatch]) -> DataLoader[TrainingBatch]:
    """Load batches in one process of low priority."""
    return DataLoader(
        batches, batch_size=None, num_workers=1, prefetch_factor=12, worker_init_fn=_be_modest
    )


def _be_modest(_: int) -> None:
    torch.set_num_threads(1)
    os.nice(2)
