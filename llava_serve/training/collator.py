"""Collator: prepared samples become one batch, as transformers' Llava models take it."""

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.training.dataset import PreparedSample
from llava_serve.training.labels import IGNORED

_ONE_TILE = ("llava", "vipllava")  # their images have one tile each, and need no size


class BatchCollator:
    """Pads samples at their ends, for one checkpoint.

    The batch has `input_ids`, `attention_mask` and `labels`, int64 (batch, length). Where there
    are images it has `pixel_values`, float32 (images, tiles, 3, height, width) with zeros behind
    the tiles of each, or (images, 3, height, width) for models of one tile, `image_sizes`, int64
    (images, 2) with height and width, and for OneVision `batch_num_images`, int64 (batch,). Where
    there are videos it has `pixel_values_videos`, float32 (videos, frames, 3, height, width).
    """

    def __init__(self, loaded: LoadedModel) -> None:
        tokenizer = loaded.tokenizer
        known = (tokenizer.pad_token_id, tokenizer.eos_token_id)
        self._padding = int(next((each for each in known if each is not None), 0))
        self._model_type = loaded.model_type
        self._is_original = loaded.original is not None

    def __call__(self, samples: Sequence[PreparedSample]) -> dict[str, torch.Tensor]:
        ids = [sample.input_ids for sample in samples]
        labels = [sample.labels for sample in samples]
        batch = {
            "input_ids": _padded(ids, self._padding),
            "attention_mask": _padded([torch.ones_like(each) for each in ids], 0),
            "labels": _padded(labels, IGNORED),
        }
        if tiles := [each for sample in samples for each in sample.tiles]:
            batch |= self._images(samples, tiles)
        if frames := [each for sample in samples for each in sample.frames]:
            batch["pixel_values_videos"] = torch.stack(frames)
        return batch

    def _images(
        self, samples: Sequence[PreparedSample], tiles: list[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        if self._model_type in _ONE_TILE and not self._is_original:
            return {"pixel_values": torch.cat(tiles)}
        sizes = [[height, width] for sample in samples for width, height in sample.sizes]
        batch = {
            "pixel_values": pad_sequence(tiles, batch_first=True),
            "image_sizes": torch.tensor(sizes),
        }
        if self._model_type == "llava_onevision":
            batch["batch_num_images"] = torch.tensor([len(each.tiles) for each in samples])
        return batch


def _padded(rows: list[torch.Tensor], padding: int) -> torch.Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=padding)
