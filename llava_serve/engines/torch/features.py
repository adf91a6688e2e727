"""Pictures and clips become feature rows, with the model's own tower, projector and packing.

Rows are kept by what they are of, so that a picture that was seen before, in whatever request, is
not encoded again.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from cachetools import LRUCache

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.errors import MediaNotAccepted
from llava_serve.media.base import Clip, Picture

Media = Picture | Clip
Rows = torch.Tensor  # (rows, hidden), in the model's dtype and on its device


@dataclass(frozen=True, slots=True)
class Encoded:
    """Feature rows; `name` says of which pixels, made with which preprocessing."""

    name: str
    rows: Rows


class Features:
    """Computes what stands in the prompt for each picture and clip of a request.

    `hits` and `misses` count pictures and clips since the start.
    """

    def __init__(self, loaded: LoadedModel, cache_bytes: int) -> None:
        self._loaded = loaded
        self._family = _FAMILIES[loaded.model_type] if loaded.original is None else _ORIGINAL
        self._kept: LRUCache[str, Rows] = LRUCache(cache_bytes, _bytes)
        self.hits = 0
        self.misses = 0

    @property
    def kept_bytes(self) -> int:
        return int(self._kept.currsize)

    def encode(self, media: Sequence[Media]) -> list[Encoded]:
        """Return the rows of each of `media`, which all belong to one request, in their order."""
        return self.encode_all([media])[0]

    @torch.inference_mode()
    def encode_all(self, requests: Sequence[Sequence[Media]]) -> list[list[Encoded]]:
        """Return the rows of several requests' media; new pictures go through the tower at once.

        How many pictures a request has matters, because OneVision tiles a single picture and gives
        each of several one tile.
        """
        named = [self._named(media) for media in requests]
        rows = {
            name: self._kept[name] for media in named for name, _ in media if name in self._kept
        }
        new = {name: item for media in named for name, item in media if name not in rows}
        for name, item in new.items():
            if isinstance(item, Clip):
                rows[name] = self._clip(item)
        rows |= self._pictures({n: item for n, item in new.items() if isinstance(item, Picture)})
        self.hits += sum(len(media) for media in named) - len(new)
        self.misses += len(new)
        for name in new:
            if _bytes(rows[name]) <= self._kept.maxsize:
                self._kept[name] = rows[name].clone()  # not a view of a whole batch
        return [[Encoded(name, rows[name]) for name, _ in media] for media in named]

    def _named(self, media: Sequence[Media]) -> list[tuple[str, Media]]:
        is_alone = sum(isinstance(item, Picture) for item in media) == 1
        return [(self._name(item, is_alone=is_alone), item) for item in media]

    def _name(self, item: Media, *, is_alone: bool) -> str:
        if isinstance(item, Clip):
            frames = "".join(frame.sha256 for frame in item.frames)
            return "clip " + hashlib.sha256(frames.encode()).hexdigest()
        return f"{self._family.preprocessing(is_alone)} {item.sha256}"

    def _pictures(self, new: dict[str, Picture]) -> dict[str, Rows]:
        """Encode what belongs together; a name's first word says how it is preprocessed."""
        rows: dict[str, Rows] = {}
        for preprocessing in sorted({name.split()[0] for name in new}):
            names = [name for name in new if name.split()[0] == preprocessing]
            pictures = [new[name] for name in names]
            found = self._family.encode(self._loaded, pictures, preprocessing)
            rows |= dict(zip(names, found, strict=True))
        return rows

    def _clip(self, clip: Clip) -> Rows:
        if self._loaded.frames is None:
            raise MediaNotAccepted(self._loaded.name, "video")
        tiles = self._loaded.frames([frame.image for frame in clip.frames])
        if self._loaded.original is not None:
            frames = _projected(self._loaded, tiles)
            return self._loaded.original.packing.clip(frames, _newline(self._loaded))
        rows = _model(self._loaded).get_video_features(
            pixel_values_videos=_on_device(self._loaded, tiles[None]), return_dict=True
        )
        return _flat(rows.pooler_output[0])


@dataclass(frozen=True, slots=True)
class _Family:
    """How a family encodes pictures, and what decides how one is preprocessed."""

    encode: Callable[[LoadedModel, list[Picture], str], Iterable[Rows]]
    depends_on_number: bool = False

    def preprocessing(self, is_alone: bool) -> str:
        return "alone" if is_alone and self.depends_on_number else "each"


def _one_tile_each(loaded: LoadedModel, pictures: list[Picture], _: str) -> Iterable[Rows]:
    """LLaVA 1.5, ViP-LLaVA, interleave: one tile a picture."""
    inputs = _processed(loaded, [picture.image for picture in pictures])
    found = _model(loaded).get_image_features(pixel_values=inputs["pixel_values"], return_dict=True)
    return map(_flat, found.pooler_output)


def _anyres(loaded: LoadedModel, pictures: list[Picture], _: str) -> Iterable[Rows]:
    """LLaVA-NeXT: each picture is tiled."""
    inputs = _processed(loaded, [picture.image for picture in pictures])
    found = _model(loaded).get_image_features(
        pixel_values=inputs["pixel_values"], image_sizes=inputs["image_sizes"], return_dict=True
    )
    return map(_flat, found.pooler_output)


def _anyres_if_alone(
    loaded: LoadedModel, pictures: list[Picture], preprocessing: str
) -> Iterable[Rows]:
    """OneVision: a single picture is tiled, several get one tile each."""
    images = [picture.image for picture in pictures]
    if preprocessing == "alone":
        groups = [[image] for image in images]
    else:  # two at least, or the processor would tile it
        groups = [images if len(images) > 1 else images * 2]
    inputs = _processed(loaded, groups)
    found = _model(loaded).get_image_features(
        pixel_values=inputs["pixel_values"],
        image_sizes=inputs["image_sizes"],
        batch_num_images=inputs["batch_num_images"],
        return_dict=True,
    )
    return [_flat(rows) for rows in found.pooler_output][: len(images)]


def _as_trained(loaded: LoadedModel, pictures: list[Picture], _: str) -> Iterable[Rows]:
    """LLaVA's original layout: tiled and packed as its own code does."""
    assert loaded.original is not None  # only such a checkpoint has this family
    tiles = [loaded.original.tiles(picture.image) for picture in pictures]
    features = torch.split(_projected(loaded, torch.cat(tiles)), [len(each) for each in tiles])
    newline, pack = _newline(loaded), loaded.original.packing.picture
    return [
        pack(each, picture.image.size, newline)
        for each, picture in zip(features, pictures, strict=True)
    ]


def _projected(loaded: LoadedModel, tiles: torch.Tensor) -> torch.Tensor:
    """Return the features of tiles: (tiles, 3, height, width) to (tiles, patches, hidden)."""
    model, config = _model(loaded).model, loaded.model.config
    states = model.vision_tower(
        _on_device(loaded, tiles), output_hidden_states=True, return_dict=True
    ).hidden_states[config.vision_feature_layer]
    if config.vision_feature_select_strategy == "default":
        states = states[:, 1:]  # the first is the class token
    features: torch.Tensor = model.multi_modal_projector(states)
    return features


def _newline(loaded: LoadedModel) -> torch.Tensor | None:
    newline: torch.Tensor | None = getattr(_model(loaded).model, "image_newline", None)
    return newline


_ORIGINAL = _Family(_as_trained)
_FAMILIES: dict[str, _Family] = {
    "llava": _Family(_one_tile_each),
    "vipllava": _Family(_one_tile_each),
    "llava_next": _Family(_anyres),
    "llava_next_video": _Family(_anyres),
    "llava_onevision": _Family(_anyres_if_alone, depends_on_number=True),
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


def _bytes(rows: Rows) -> int:
    return rows.numel() * rows.element_size()
