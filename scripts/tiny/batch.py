"""Training batches: token ids, positions of image features, tiles and their dense labels."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_onevision.modeling_llava_onevision import unpad_image

from scripts.tiny.dialogue import Dialogue, DrawnImage, Medium
from scripts.tiny.tiles import (
    PATCHES,
    PINPOINTS,
    SIDE,
    TILE,
    UNKNOWN,
    DenseLabels,
    TiledImage,
    dense_labels,
    differences,
    frame,
    one_of_several,
    single,
)
from scripts.tiny.tokenizer import IMAGE, VIDEO, render
from scripts.tiny.world import Size

NEWLINE = -1  # the row of the newline feature in a layout
NO_TURN = -1
POOLED = PATCHES // 4  # features of a video frame
Rows = npt.NDArray[np.int64]


@lru_cache(maxsize=4096)
def layout(size: Size) -> tuple[int, ...]:
    """Rows of a single image's features, tile * 64 + patch, in the order the model packs them."""
    width, height = size
    best = select_best_resolution((height, width), PINPOINTS)
    rows, columns = best[0] // TILE, best[1] // TILE
    index = torch.arange(rows * columns * PATCHES, dtype=torch.float64) + PATCHES
    grid = index.view(rows, columns, SIDE, SIDE).permute(0, 2, 1, 3)
    grid = grid.reshape(1, rows * SIDE, columns * SIDE)
    kept = unpad_image(grid, (height, width))[0].long()  # type: ignore[no-untyped-call]
    lines = torch.cat([kept, torch.full((len(kept), 1), NEWLINE)], dim=1)
    return (*range(PATCHES), *lines.flatten().tolist())


@dataclass(slots=True)
class Sample:
    """One dialogue. `rows` count image tiles and frames of this sample apart."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)  # of a second image's patches, see CHANGES
    turns: list[int] = field(default_factory=list)  # which answer a token belongs to, or NO_TURN
    kinds: list[str] = field(default_factory=list)  # of each question
    positions: list[int] = field(default_factory=list)  # of image tokens in `ids`
    rows: list[int] = field(default_factory=list)  # their features' rows, NEWLINE among them
    is_pooled: list[bool] = field(default_factory=list)
    tiles: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    frames: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    dense: list[DenseLabels] = field(default_factory=list)
    frame_dense: list[DenseLabels] = field(default_factory=list)


def encode(
    dialogue: Dialogue, tokenizer: PreTrainedTokenizerFast, *, base_only: bool = False
) -> Sample:
    """Tokenize, tile and label a dialogue; only answers get labels.

    With `base_only` an image's grid is left out, which halves the cost of the first phase.
    """
    text, offsets = render(dialogue)
    encoding = tokenizer(text, return_offsets_mapping=True)
    marks = [tokenizer.convert_tokens_to_ids(mark) for mark in (IMAGE, VIDEO)]
    media = iter(dialogue.shown)
    images = sum(not shown.is_video for shown in dialogue.shown)
    sample = Sample(kinds=[exchange.turn.kind for exchange in dialogue.exchanges])
    for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
        if token in marks:
            way = _way(images, base_only=base_only)
            _add_media(sample, next(media), token, way)
            continue
        inside = [i for i, (begin, stop) in enumerate(offsets) if begin <= start and end <= stop]
        sample.ids.append(token)
        sample.labels.append(token if inside else UNKNOWN)
        sample.turns.append(inside[0] if inside else NO_TURN)
    sample.changes = [UNKNOWN] * len(sample.ids)
    if dialogue.form == "change":
        second = sample.positions[PATCHES + 1]  # the first image's patches, its newline, then this
        sample.changes[second : second + PATCHES] = differences(*sample.dense).tolist()
    return sample


def _way(images: int, *, base_only: bool) -> Callable[[Image.Image], TiledImage]:
    if images > 1:
        return one_of_several
    return frame if base_only else single


def _add_media(
    sample: Sample, shown: Medium, token: int, way: Callable[[Image.Image], TiledImage]
) -> None:
    if shown.is_video:
        first = len(sample.frames) * POOLED
        for drawn in shown.images:
            _add_tiles(sample.frames, sample.frame_dense, drawn, frame(drawn.image))
        rows = [*range(first, len(sample.frames) * POOLED), NEWLINE]
    else:
        (drawn,) = shown.images
        first = len(sample.tiles) * PATCHES
        tiled = way(drawn.image)
        rows = [*range(PATCHES), NEWLINE]
        if way is single:
            rows = list(layout(drawn.image.size))
            if drawn.image.width == drawn.image.height:  # base and only tile are the same
                tiled = TiledImage(tiled.pixels[:1], tiled.views[:1])
                rows = [row % PATCHES if row != NEWLINE else row for row in rows]
        rows = [row if row == NEWLINE else row + first for row in rows]
        _add_tiles(sample.tiles, sample.dense, drawn, tiled)
    sample.positions.extend(range(len(sample.ids), len(sample.ids) + len(rows)))
    sample.rows.extend(rows)
    sample.is_pooled.extend([shown.is_video] * len(rows))
    sample.ids.extend([token] * len(rows))
    sample.labels.extend([UNKNOWN] * len(rows))
    sample.turns.extend([NO_TURN] * len(rows))


_NO_LABELS = DenseLabels(
    what=np.full(PATCHES, UNKNOWN),
    color=np.full(PATCHES, UNKNOWN),
    background=np.full(PATCHES, UNKNOWN),
    cell=np.full(PATCHES, UNKNOWN),
    centre=np.full(PATCHES, UNKNOWN),
    where=np.zeros((PATCHES, 4), dtype=np.float32),
)


def _add_tiles(
    tiles: list[npt.NDArray[np.uint8]],
    dense: list[DenseLabels],
    drawn: DrawnImage,
    tiled: TiledImage,
) -> None:
    for pixels, view in zip(tiled.pixels, tiled.views, strict=True):
        tiles.append(pixels)
        scene = drawn.scene
        dense.append(dense_labels(scene, drawn.image.size, view) if scene else _NO_LABELS)


@dataclass(frozen=True, slots=True)
class DenseBatch:
    """Labels of many tiles: int64 (tiles, 64) each, `where` float32 (tiles, 64, 4)."""

    what: Tensor
    color: Tensor
    background: Tensor
    cell: Tensor
    centre: Tensor
    where: Tensor

    def to(self, device: torch.device) -> "DenseBatch":
        return DenseBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(slots=True)
class TrainingBatch:
    """Samples padded on the right.

    `ids`, `labels`, `changes`, `turns` int64 (samples, length), turns counted through the batch
    as in `kinds`; `pixels` uint8 (tiles, 96, 96, 3), images' before frames'; `positions` index the
    flattened ids; `rows` index the features table: every image tile's patches, then the newline,
    then every frame's pooled patches.
    """

    ids: Tensor
    labels: Tensor
    changes: Tensor
    turns: Tensor
    kinds: list[str]
    pixels: Tensor
    frames: int
    positions: Tensor
    rows: Tensor
    dense: DenseBatch

    def to(self, device: torch.device) -> "TrainingBatch":
        return replace(
            self,
            ids=self.ids.to(device),
            labels=self.labels.to(device),
            changes=self.changes.to(device),
            turns=self.turns.to(device),
            pixels=self.pixels.to(device),
            positions=self.positions.to(device),
            rows=self.rows.to(device),
            dense=self.dense.to(device),
        )


def collate(samples: list[Sample], pad: int) -> TrainingBatch:
    """Pad samples to one length and renumber their turns, tiles and features."""
    length = -(-max(len(sample.ids) for sample in samples) // 16) * 16
    tiles = sum(len(sample.tiles) for sample in samples)
    newline = tiles * PATCHES
    shape = (len(samples), length)
    ids, labels, turns = np.full(shape, pad), np.full(shape, UNKNOWN), np.full(shape, NO_TURN)
    changes = np.full(shape, UNKNOWN)
    kinds: list[str] = []
    positions: list[Rows] = []
    rows: list[Rows] = []
    tile, pooled = 0, newline + 1
    for i, sample in enumerate(samples):
        ids[i, : len(sample.ids)] = sample.ids
        labels[i, : len(sample.labels)] = sample.labels
        changes[i, : len(sample.changes)] = sample.changes
        own = np.array(sample.turns)
        turns[i, : len(own)] = np.where(own == NO_TURN, NO_TURN, own + len(kinds))
        kinds.extend(sample.kinds)
        row = np.array(sample.rows, dtype=np.int64)
        shifted = row + np.where(sample.is_pooled, pooled, tile * PATCHES)
        rows.append(np.where(row == NEWLINE, newline, shifted).astype(np.int64))
        positions.append(np.array(sample.positions, dtype=np.int64) + i * length)
        tile += len(sample.tiles)
        pooled += len(sample.frames) * POOLED
    pixels = [t for s in samples for t in s.tiles] + [t for s in samples for t in s.frames]
    dense = [d for s in samples for d in s.dense] + [d for s in samples for d in s.frame_dense]
    return TrainingBatch(
        ids=torch.from_numpy(ids),
        labels=torch.from_numpy(labels),
        changes=torch.from_numpy(changes),
        turns=torch.from_numpy(turns),
        kinds=kinds,
        pixels=torch.from_numpy(np.stack(pixels)),
        frames=len(pixels) - tiles,
        positions=torch.from_numpy(np.concatenate(positions)),
        rows=torch.from_numpy(np.concatenate(rows)),
        dense=stack_dense(dense),
    )


def stack_dense(dense: list[DenseLabels]) -> DenseBatch:
    """Stack the dense labels of many tiles."""
    return DenseBatch(
        **{
            label.name: torch.from_numpy(np.stack([getattr(tile, label.name) for tile in dense]))
            for label in fields(DenseLabels)
        }
    )


def tile_batch(pixels: list[npt.NDArray[np.uint8]], dense: list[DenseLabels]) -> TrainingBatch:
    """Tiles with dense labels and no dialogue."""
    nothing = torch.zeros((0, 0), dtype=torch.long)
    return TrainingBatch(
        ids=nothing,
        labels=nothing,
        changes=nothing,
        turns=nothing,
        kinds=[],
        pixels=torch.from_numpy(np.stack(pixels)),
        frames=0,
        positions=nothing,
        rows=nothing,
        dense=stack_dense(dense),
    )
