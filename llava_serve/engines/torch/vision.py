"""Image features: encoded by the vision tower, cached by content, merged into the prompt.

An image or video that was seen before, in whatever request, is not encoded again.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import torch
from cachetools import LRUCache

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import (
    Rows,
    Tiles,
    family_of,
    on_device,
    pack_video,
    project,
)
from llava_serve.engines.torch.kv_cache import Keys
from llava_serve.errors import MediaNotAccepted
from llava_serve.request import Image, Video

Media = Image | Video
Item = int | Image | Video  # of a prompt: a token's id, or what stands between tokens
NamedTiles = Mapping[str, Tiles]
_NO_TILES: Tiles = torch.empty(0)
_MOST_PATCHES = 12_000  # in one call of the tower, whose activations take memory


class ImageFeatures:
    """Feature rows of one image or video, which are there once it `is_complete`.

    `name` says of which pixels, made with which preprocessing. `tiles_left` are those that the
    vision tower has not seen.
    """

    rows: Rows

    def __init__(self, name: str, media: Media, tiles: Tiles) -> None:
        self.name = name
        self.media = media
        self.tiles_left = tiles
        self.is_complete = False
        self._encoded: list[torch.Tensor] = []

    @property
    def encoded(self) -> torch.Tensor:
        """The tower's features of the tiles it has seen: (tiles, patches, hidden)."""
        return torch.cat(self._encoded)

    def add(self, features: torch.Tensor) -> None:
        """Take the tower's features of the next tiles."""
        self._encoded.append(features)
        self.tiles_left = self.tiles_left[len(features) :]

    def complete(self, rows: Rows) -> None:
        self.rows = rows
        self.is_complete = True
        self.tiles_left, self._encoded = _NO_TILES, []


class ImageFeatureCache:
    """Encodes images and videos, and keeps the least recently used feature rows that fit.

    Everything but `preprocess` is for one thread only. `hits` and `misses` count images and videos
    since the start.
    """

    def __init__(self, loaded: LoadedModel, cache_bytes: int) -> None:
        self._loaded = loaded
        self._family = family_of(loaded)
        self._cached: LRUCache[str, Rows] = LRUCache(cache_bytes, _bytes)
        self._under_way: WeakValueDictionary[str, ImageFeatures] = WeakValueDictionary()
        vision = loaded.model.config.vision_config
        self._tile_side = int(vision.image_size)
        self._most_tiles = max(1, _MOST_PATCHES // (self._tile_side // vision.patch_size) ** 2)
        self.hits = 0
        self.misses = 0

    @property
    def cached_bytes(self) -> int:
        return int(self._cached.currsize)

    def preprocess(self, media: Sequence[Media]) -> NamedTiles:
        """Return the tiles of what is not cached, of all of one request's media, by their names.

        How many images a request has matters, because OneVision tiles a single image and gives
        each of several one tile. Safe to call from any thread.

        Raises:
            MediaNotAccepted: the model takes no video.
        """
        new = {name: item for name, item in self._named(media) if name not in self._cached}
        tiles = {name: self._frames(item) for name, item in new.items() if isinstance(item, Video)}
        images = {name: item for name, item in new.items() if isinstance(item, Image)}
        if images:
            pixels = [image.image for image in images.values()]
            found = self._family.tiles(self._loaded, pixels, _is_alone(media))
            tiles |= dict(zip(images, found, strict=True))
        return tiles

    def look_up(self, media: Sequence[Media], preprocessed: NamedTiles) -> list[ImageFeatures]:
        """Return the features of one request's media in their order, some of them complete."""
        return [self._one(media, name, item, preprocessed) for name, item in self._named(media)]

    @torch.inference_mode()
    def encode_tiles(self, features: Sequence[ImageFeatures], most: int | None = None) -> None:
        """Encode the first tiles of what is not complete, in one call of the tower.

        They are `most` at most, but for a video, whose frames go together; None stands for as many
        as the tower should take at once.
        """
        room = min(most or self._most_tiles, self._most_tiles)
        turn: list[tuple[ImageFeatures, Tiles]] = []
        for each in dict.fromkeys(features):
            if each.is_complete or room <= 0:
                continue
            if isinstance(each.media, Video):
                if not turn:
                    self._complete(each, pack_video(self._loaded, each.tiles_left))
                    return
                break
            turn.append((each, each.tiles_left[:room]))
            room -= len(turn[-1][1])
        if not turn:
            return
        encoded = project(self._loaded, torch.cat([tiles for _, tiles in turn]))
        parts = torch.split(encoded, [len(tiles) for _, tiles in turn])
        for (each, _), part in zip(turn, parts, strict=True):
            each.add(part)
            if not len(each.tiles_left) and isinstance(each.media, Image):
                size = each.media.image.size
                self._complete(each, self._family.pack(self._loaded, each.encoded, size))

    def encode(self, media: Sequence[Media]) -> list[ImageFeatures]:
        """Return the features of one request's media, all of them complete."""
        features = self.look_up(media, self.preprocess(media))
        while not all(each.is_complete for each in features):
            self.encode_tiles(features)
        return features

    @torch.inference_mode()
    def seconds_per_tile(self) -> float:
        """Measure how long the tower takes for one tile."""
        tile = torch.zeros(1, 3, self._tile_side, self._tile_side)
        started = time.monotonic()
        project(self._loaded, on_device(self._loaded, tile)).sum().item()  # waits for the device
        return time.monotonic() - started

    def _one(
        self, media: Sequence[Media], name: str, item: Media, preprocessed: NamedTiles
    ) -> ImageFeatures:
        if (known := self._under_way.get(name)) is not None:
            self.hits += 1
            return known
        if (rows := self._cached.get(name)) is not None:
            self.hits += 1
            features = ImageFeatures(name, item, _NO_TILES)
            features.complete(rows)
            return features
        self.misses += 1
        if name not in preprocessed:  # it was cached at that time, and is not any more
            preprocessed = self.preprocess(media)
        features = ImageFeatures(name, item, preprocessed[name])
        self._under_way[name] = features
        return features

    def _complete(self, features: ImageFeatures, rows: Rows) -> None:
        rows = rows.clone()  # not a view of a whole batch
        features.complete(rows)
        del self._under_way[features.name]
        if _bytes(rows) <= self._cached.maxsize:
            self._cached[features.name] = rows

    def _frames(self, video: Video) -> Tiles:
        if self._loaded.frames is None:
            raise MediaNotAccepted(self._loaded.name, "video")
        return self._loaded.frames([frame.image for frame in video.frames])

    def _named(self, media: Sequence[Media]) -> list[tuple[str, Media]]:
        is_alone = self._family.depends_on_number and _is_alone(media)
        return [(_name(item, is_alone=is_alone), item) for item in media]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt ready for prefill.

    `tokens` has the image token's id wherever a feature row stands; `embeddings` is
    (len(tokens), hidden); `keys` tell equal prompts, images included, from different ones.
    """

    tokens: list[int]
    embeddings: torch.Tensor
    keys: Keys
    image_tokens: int


@torch.inference_mode()
def merge_image_features(
    loaded: LoadedModel, items: Sequence[Item], features: Sequence[ImageFeatures]
) -> Prompt:
    """Embed the tokens, and put each image's feature rows where the image stands among them."""
    embed = loaded.model.get_input_embeddings()
    remaining = iter(features)
    tokens: list[int] = []
    keys: list[int] = []
    places: list[tuple[int, torch.Tensor]] = []
    for item in items:
        if isinstance(item, int):
            tokens.append(item)
            keys.append(item)
            continue
        image = next(remaining)
        places.append((len(tokens), image.rows))
        tokens += [loaded.image_token_id] * len(image.rows)
        keys += [_key(image.name)] * len(image.rows)
    ids = torch.tensor(tokens, device=loaded.model.device)
    # The image token's id may lie beyond the embedding table; its rows are overwritten anyway.
    embeddings = embed(ids.masked_fill(ids == loaded.image_token_id, 0))
    for start, rows in places:
        embeddings[start : start + len(rows)] = rows.to(embeddings)
    return Prompt(
        tokens,
        embeddings,
        np.array(keys, dtype=np.int64),
        image_tokens=sum(len(rows) for _, rows in places),
    )


def _key(name: str) -> int:
    """Return a negative number for what an image is called: no token has one."""
    digest = hashlib.sha256(name.encode()).digest()
    return -1 - (int.from_bytes(digest[:8], "big") >> 1)


def _name(item: Media, *, is_alone: bool) -> str:
    if isinstance(item, Video):
        frames = "".join(frame.sha256 for frame in item.frames)
        return "video " + hashlib.sha256(frames.encode()).hexdigest()
    return f"{'alone' if is_alone else 'each'} {item.sha256}"


def _is_alone(media: Sequence[Media]) -> bool:
    return sum(isinstance(item, Image) for item in media) == 1


def _bytes(rows: Rows) -> int:
    return rows.numel() * rows.element_size()
