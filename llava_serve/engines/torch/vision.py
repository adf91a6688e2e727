"""Image features: encoded by the vision tower, cached by content, merged into the prompt.

An image or video that was seen before, in whatever request, is not encoded again.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from weakref import WeakValueDictionary

import numpy as np
import torch
from cachetools import LRUCache

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import (
    Rows,
    Tiles,
    family_of,
    newline_of,
    on_device,
    pack_video,
    project,
)
from llava_serve.engines.torch.kv_cache import CacheKey
from llava_serve.errors import MediaNotAccepted
from llava_serve.request import Image, Video

Media = Image | Video
Item = int | Image | Video  # of a prompt: a token's id, or what stands between tokens
TilesByHash = Mapping[str, Tiles]
_OVERVIEW = "overview"
_NO_TILES: Tiles = torch.empty(0)
_MOST_PATCHES = 12_000  # in one call of the tower, whose activations take memory


class ImageFeatures:
    """Feature rows of one image or video, which are there once it `is_complete`.

    `content_hash` is of the pixels and how they are preprocessed. `tiles_left` are those that the
    vision tower has not seen.
    """

    rows: Rows

    def __init__(self, content_hash: str, media: Media, tiles: Tiles) -> None:
        self.content_hash = content_hash
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
    """Encodes images and videos, and keeps the most recently used feature rows that fit.

    Everything but `preprocess`, `hashed` and `holds` is for one thread only. `hits` and `misses`
    count images and videos since the start; `patches` is the features of a tile, as the tower last
    returned them.
    """

    def __init__(self, loaded: LoadedModel, cache_bytes: int) -> None:
        self._loaded = loaded
        self._family = family_of(loaded)
        self._cached: LRUCache[str, Rows] = LRUCache(cache_bytes, attrgetter("nbytes"))
        self._under_way: WeakValueDictionary[str, ImageFeatures] = WeakValueDictionary()
        vision = loaded.model.config.vision_config
        self._tile_side = int(vision.image_size)
        self._most_tiles = max(1, _MOST_PATCHES // (self._tile_side // vision.patch_size) ** 2)
        self.patches = 0
        self.hits = 0
        self.misses = 0

    @property
    def cached_bytes(self) -> int:
        """Memory that the cached feature rows take."""
        return int(self._cached.currsize)

    def hashed(self, media: Sequence[Media]) -> list[tuple[str, Media]]:
        """Return one request's media with their content hashes, in order."""
        is_single = _is_single(media)
        is_tiled = self._family.is_tiled(self._loaded, is_single)
        tiling = "alone" if self._family.depends_on_number and is_single else "each"
        return [
            (_hash(item, _OVERVIEW if is_tiled and _is_coarse(item) else tiling), item)
            for item in media
        ]

    def holds(self, content_hash: str) -> bool:
        """Say whether the features of this content are cached."""
        return content_hash in self._cached

    def preprocess(self, media: Sequence[Media], *, skips_cached: bool = True) -> TilesByHash:
        """Return the tiles of one request's media, by their content hash; cached ones need none.

        How many images a request has matters, because OneVision tiles a single image and gives
        each of several one tile. Safe to call from any thread.

        Raises:
            MediaNotAccepted: the model takes no video.
        """
        new = {
            name: item
            for name, item in self.hashed(media)
            if not (skips_cached and self.holds(name))
        }
        tiles = {name: self._frames(item) for name, item in new.items() if isinstance(item, Video)}
        images = {name: item for name, item in new.items() if isinstance(item, Image)}
        if images:
            pixels = [image.image for image in images.values()]
            found = self._family.tiles(self._loaded, pixels, _is_single(media))
            for name, own in zip(images, found, strict=True):
                tiles[name] = own[:1].clone() if is_overview(name) else own
        return tiles

    def look_up(self, media: Sequence[Media], preprocessed: TilesByHash) -> list[ImageFeatures]:
        """Return the features of one request's media in their order, some of them complete."""
        return [self._one(media, name, item, preprocessed) for name, item in self.hashed(media)]

    @torch.inference_mode()
    def encode_tiles(self, features: Sequence[ImageFeatures], max_tiles: int | None = None) -> None:
        """Encode the first tiles of what is not complete, in one call of the tower.

        A video is encoded whole, in a call of its own. Without `max_tiles` the call has as many as
        the tower should take at once.
        """
        room = min(max_tiles or self._most_tiles, self._most_tiles)
        batch: list[tuple[ImageFeatures, Tiles]] = []
        for each in dict.fromkeys(features):
            if each.is_complete or room <= 0:
                continue
            if isinstance(each.media, Video):
                if not batch:
                    self._complete(each, pack_video(self._loaded, each.tiles_left))
                    return
                break
            batch.append((each, each.tiles_left[:room]))
            room -= len(batch[-1][1])
        if not batch:
            return
        encoded = project(self._loaded, torch.cat([tiles for _, tiles in batch]))
        self.patches = encoded.shape[1]
        parts = torch.split(encoded, [len(tiles) for _, tiles in batch])
        for (each, _), part in zip(batch, parts, strict=True):
            each.add(part)
            if not len(each.tiles_left) and isinstance(each.media, Image):
                size = each.media.image.size
                newline = newline_of(self._loaded)
                self._complete(each, self._family.pack(self._loaded, each.encoded, size, newline))

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
        self, media: Sequence[Media], name: str, item: Media, preprocessed: TilesByHash
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
        del self._under_way[features.content_hash]
        if rows.nbytes <= self._cached.maxsize:
            self._cached[features.content_hash] = rows

    def _frames(self, video: Video) -> Tiles:
        if self._loaded.frames is None:
            raise MediaNotAccepted(self._loaded.name, "video")
        return self._loaded.frames([frame.image for frame in video.frames])


@dataclass(frozen=True, slots=True)
class EmbeddedPrompt:
    """A prompt ready for prefill.

    `tokens` has the image token's id wherever a feature row stands; `embeddings` is
    (len(tokens), hidden); `cache_key` tells equal prompts, images included, from different ones.
    """

    tokens: list[int]
    embeddings: torch.Tensor
    cache_key: CacheKey
    image_tokens: int


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """The tokens and the cache key of a prompt, and where the rows of each image begin."""

    tokens: list[int]
    cache_key: CacheKey
    starts: list[int]


def lay_out(
    loaded: LoadedModel, items: Sequence[Item], images: Iterable[tuple[str, int]]
) -> PromptLayout:
    """Place images, each a content hash and a number of rows, among the tokens."""
    remaining = iter(images)
    tokens: list[int] = []
    key: list[int] = []
    starts: list[int] = []
    for item in items:
        if isinstance(item, int):
            tokens.append(item)
            key.append(item)
            continue
        content_hash, rows = next(remaining)
        starts.append(len(tokens))
        tokens += [loaded.image_token_id] * rows
        key += [_number_of(content_hash)] * rows
    return PromptLayout(tokens, np.array(key, dtype=np.int64), starts)


@torch.inference_mode()
def merge_image_features(
    loaded: LoadedModel, items: Sequence[Item], features: Sequence[ImageFeatures]
) -> EmbeddedPrompt:
    """Embed the tokens, and put each image's feature rows where the image stands among them."""
    embed = loaded.model.get_input_embeddings()
    rows_of_each = [image.rows for image in features]
    layout = lay_out(loaded, items, ((each.content_hash, len(each.rows)) for each in features))
    ids = torch.tensor(layout.tokens, device=loaded.model.device)
    # The image token's id may lie beyond the embedding table; its rows are overwritten anyway.
    embeddings = embed(ids.masked_fill(ids == loaded.image_token_id, 0))
    for start, rows in zip(layout.starts, rows_of_each, strict=True):
        embeddings[start : start + len(rows)] = rows.to(embeddings)
    return EmbeddedPrompt(
        layout.tokens, embeddings, layout.cache_key, image_tokens=sum(map(len, rows_of_each))
    )


def _number_of(content_hash: str) -> int:
    """Return the number of an image in a cache key: negative, as no token's id is."""
    digest = hashlib.sha256(content_hash.encode()).digest()
    return -1 - (int.from_bytes(digest[:8], "big") >> 1)


def is_overview(content_hash: str) -> bool:
    """Say whether the features of this content are of one tile where there might be several."""
    return content_hash.startswith(_OVERVIEW)


def _hash(item: Media, tiling: str) -> str:
    if isinstance(item, Video):
        frames = "".join(frame.sha256 for frame in item.frames)
        return "video " + hashlib.sha256(frames.encode()).hexdigest()
    return f"{tiling} {item.sha256}"


def _is_coarse(item: Media) -> bool:
    return isinstance(item, Image) and item.is_coarse


def _is_single(media: Sequence[Media]) -> bool:
    return sum(isinstance(item, Image) for item in media) == 1
