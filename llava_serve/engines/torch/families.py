"""Model families: how each turns images into tiles, and the features of tiles into feature rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from llava_serve.checkpoints.loaded import LoadedModel

Tiles = torch.Tensor  # float32 (tiles, 3, height, width), normalised; the whole image comes first
Rows = torch.Tensor  # (rows, hidden), in the model's dtype and on its device
Size = tuple[int, int]  # (width, height) in pixels


@dataclass(frozen=True, slots=True)
class Family:
    """Preprocessing and packing of one family.

    `tiles` gives the tiles of each of several images, and is safe to call from any thread; with
    `is_alone` each is the only image of its request, which matters where `depends_on_number`.
    An image `is_tiled` where it may become several, the whole of it first; what is coarse then has
    that one alone. `pack` turns an image's features, (tiles, patches, hidden), into rows; it gets
    what `newline_of` the model returns, (hidden,), too.
    """

    tiles: Callable[[LoadedModel, list[Image.Image], bool], list[Tiles]]
    pack: Callable[[LoadedModel, torch.Tensor, Size, torch.Tensor | None], Rows]
    is_tiled: Callable[[LoadedModel, bool], bool]
    depends_on_number: bool = False


def family_of(loaded: LoadedModel) -> Family:
    """Return how a checkpoint's images are preprocessed and packed."""
    return _FAMILIES[loaded.model_type] if loaded.original is None else _ORIGINAL


def project(loaded: LoadedModel, tiles: Tiles) -> torch.Tensor:
    """Return the features of tiles: (tiles, patches, hidden).

    Source: transformers 5.23, models/llava/modeling_llava.py::LlavaModel.get_image_features; the
    other families do the same before they pack.
    """
    model, config = _model(loaded).model, loaded.model.config
    chosen = config.vision_feature_layer
    layers = [chosen] if isinstance(chosen, int) else list(chosen)
    states = model.vision_tower(
        on_device(loaded, tiles), output_hidden_states=layers, return_dict=True
    ).hidden_states
    features = torch.cat([states[layer] for layer in layers], dim=-1)
    if getattr(config, "vision_feature_select_strategy", "default") == "default":
        features = features[:, 1:]  # the first is the class token
    projected: torch.Tensor = model.multi_modal_projector(features)
    return projected


def pack_video(loaded: LoadedModel, frames: Tiles) -> Rows:
    """Return the rows of a video's frames, which go through the tower together."""
    if loaded.original is not None:
        return loaded.original.packing.pack_video(project(loaded, frames), newline_of(loaded))
    found = _model(loaded).get_video_features(
        pixel_values_videos=on_device(loaded, frames[None]), return_dict=True
    )
    return _flat(found.pooler_output[0])


def on_device(loaded: LoadedModel, pixels: torch.Tensor) -> torch.Tensor:
    """Move pixels to the vision tower's device, in its dtype."""
    tower = next(_model(loaded).model.vision_tower.parameters())
    return pixels.to(tower.device, tower.dtype)


def _one_tile_each(loaded: LoadedModel, images: list[Image.Image], _: bool) -> list[Tiles]:
    return list(_processed(loaded, images)[:, None])


def _anyres(loaded: LoadedModel, images: list[Image.Image], _: bool) -> list[Tiles]:
    return [_processed(loaded, [image])[0] for image in images]


def _anyres_if_alone(loaded: LoadedModel, images: list[Image.Image], is_alone: bool) -> list[Tiles]:
    """OneVision: a single image is tiled, several get one tile each."""
    if is_alone:
        return _anyres(loaded, images, is_alone)
    together = images if len(images) > 1 else images * 2  # one by itself would be tiled
    return [tiles[:1] for tiles in _processed(loaded, [together])][: len(images)]


def _as_trained(loaded: LoadedModel, images: list[Image.Image], _: bool) -> list[Tiles]:
    assert loaded.original is not None  # only such a checkpoint has this family
    return [loaded.original.tiles(image) for image in images]


def _processed(loaded: LoadedModel, images: Sequence[Any]) -> torch.Tensor:
    pixels: torch.Tensor = loaded.image_processor(images, return_tensors="pt")["pixel_values"]
    return pixels


def _pack_flat(_: LoadedModel, features: torch.Tensor, *__: object) -> Rows:
    return _flat(features)


def _pack_anyres(
    loaded: LoadedModel, features: torch.Tensor, size: Size, newline: torch.Tensor | None
) -> Rows:
    strategy = loaded.model.config.vision_feature_select_strategy
    return _packed(loaded, features, size, newline, vision_feature_select_strategy=strategy)


def _pack_onevision(
    loaded: LoadedModel, features: torch.Tensor, size: Size, newline: torch.Tensor | None
) -> Rows:
    aspect = loaded.model.config.vision_aspect_ratio
    return _packed(loaded, features, size, newline, vision_aspect_ratio=aspect)


def _packed(
    loaded: LoadedModel,
    features: torch.Tensor,
    size: Size,
    newline: torch.Tensor | None,
    **how: str,
) -> Rows:
    rows: list[torch.Tensor]
    rows, _ = _model(loaded).model.pack_image_features(
        [features], [size[::-1]], image_newline=newline, **how
    )
    return rows[0]


def _pack_original(
    loaded: LoadedModel, features: torch.Tensor, size: Size, newline: torch.Tensor | None
) -> Rows:
    assert loaded.original is not None
    return loaded.original.packing.pack_image(features, size, newline)


def _trained_on_tiles(loaded: LoadedModel, _: bool) -> bool:
    return loaded.original is not None and loaded.original.packing.is_tiled


_ORIGINAL = Family(_as_trained, _pack_original, _trained_on_tiles)
_ONE_TILE = Family(_one_tile_each, _pack_flat, lambda _, is_alone: False)
_ANYRES = Family(_anyres, _pack_anyres, lambda _, is_alone: True)
_ONEVISION = Family(
    _anyres_if_alone, _pack_onevision, lambda _, is_alone: is_alone, depends_on_number=True
)
_FAMILIES: dict[str, Family] = {
    "llava": _ONE_TILE,
    "vipllava": _ONE_TILE,
    "llava_next": _ANYRES,
    "llava_next_video": _ANYRES,
    "llava_onevision": _ONEVISION,
}


def newline_of(loaded: LoadedModel) -> torch.Tensor | None:
    """Return the embedding, (hidden,), that ends lines of patches; None where there is none."""
    newline: torch.Tensor | None = getattr(_model(loaded).model, "image_newline", None)
    return newline


def _model(loaded: LoadedModel) -> Any:
    return loaded.model  # the methods for images are not part of PreTrainedModel's type


def _flat(rows: torch.Tensor) -> Rows:
    return rows.reshape(-1, rows.shape[-1])
