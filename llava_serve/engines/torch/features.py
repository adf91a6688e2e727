"""Pictures and clips become feature rows, with the model's own tower, projector and packing."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.errors import MediaNotAccepted
from llava_serve.media.base import Clip, Picture

Media = Picture | Clip
Rows = torch.Tensor  # (rows, hidden), in the model's dtype and on its device


class Features:
    """Computes what stands in the prompt for each picture and clip of one request."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._pictures = _BY_TYPE[loaded.model_type]

    @torch.inference_mode()
    def encode(self, media: Sequence[Media]) -> list[Rows]:
        """Return the rows of each of `media`, in their order.

        All pictures of a request go through the tower at once; how many there are matters, because
        OneVision tiles a single picture and gives each of several one tile.
        """
        pictures = [item for item in media if isinstance(item, Picture)]
        of_pictures = iter(self._pictures(self._loaded, pictures) if pictures else [])
        return [
            next(of_pictures) if isinstance(item, Picture) else self._clip(item) for item in media
        ]

    def _clip(self, clip: Clip) -> Rows:
        if self._loaded.frames is None:
            raise MediaNotAccepted(self._loaded.name, "video")
        tiles = self._loaded.frames([frame.image for frame in clip.frames])
        rows = _model(self._loaded).get_video_features(
            pixel_values_videos=_on_device(self._loaded, tiles[None]), return_dict=True
        )
        return _flat(rows.pooler_output[0])


def _one_tile_each(loaded: LoadedModel, pictures: list[Picture]) -> list[Rows]:
    """LLaVA 1.5, ViP-LLaVA, interleave: one tile a picture."""
    inputs = _processed(loaded, [picture.image for picture in pictures])
    found = _model(loaded).get_image_features(pixel_values=inputs["pixel_values"], return_dict=True)
    return [_flat(rows) for rows in found.pooler_output]


def _anyres(loaded: LoadedModel, pictures: list[Picture]) -> list[Rows]:
    """LLaVA-NeXT: each picture is tiled."""
    inputs = _processed(loaded, [picture.image for picture in pictures])
    found = _model(loaded).get_image_features(
        pixel_values=inputs["pixel_values"], image_sizes=inputs["image_sizes"], return_dict=True
    )
    return [_flat(rows) for rows in found.pooler_output]


def _anyres_if_alone(loaded: LoadedModel, pictures: list[Picture]) -> list[Rows]:
    """OneVision: a single picture is tiled, several get one tile each."""
    inputs = _processed(loaded, [[picture.image for picture in pictures]])
    found = _model(loaded).get_image_features(
        pixel_values=inputs["pixel_values"],
        image_sizes=inputs["image_sizes"],
        batch_num_images=inputs["batch_num_images"],
        return_dict=True,
    )
    return [_flat(rows) for rows in found.pooler_output]


_BY_TYPE: dict[str, Callable[[LoadedModel, list[Picture]], list[Rows]]] = {
    "llava": _one_tile_each,
    "vipllava": _one_tile_each,
    "llava_next": _anyres,
    "llava_next_video": _anyres,
    "llava_onevision": _anyres_if_alone,
}


def _processed(loaded: LoadedModel, images: list[Any]) -> dict[str, torch.Tensor]:
    inputs = dict(loaded.image_processor(images, return_tensors="pt"))
    inputs["pixel_values"] = _on_device(loaded, inputs["pixel_values"])
    return inputs


def _on_device(loaded: LoadedModel, pixels: torch.Tensor) -> torch.Tensor:
    tower = next(_model(loaded).model.vision_tower.parameters())
    return pixels.to(tower.device, tower.dtype)


def _model(loaded: LoadedModel) -> Any:
    return loaded.model  # the methods for pictures are not part of PreTrainedModel's type


def _flat(rows: torch.Tensor) -> Rows:
    return rows.reshape(-1, rows.shape[-1])
