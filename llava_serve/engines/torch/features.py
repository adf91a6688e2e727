"""Pictures and clips on their way through the vision tower, and the feature rows that stay.

Rows are kept by what they are of, so that a picture that was seen before, in whatever request, is
not encoded again.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import torch
from cachetools import LRUCache

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import (
    Rows,
    Tiles,
    family_of,
    on_device,
    pack_clip,
    project,
)
from llava_serve.errors import MediaNotAccepted
from llava_serve.request import Image, Video

Media = Image | Video
NamedTiles = Mapping[str, Tiles]
_MOST_PATCHES = 12_000  # in one call of the tower, whose activations take memory


@dataclass(eq=False)  # without slots: it is held by a weak reference
class Encoding:
    """A picture or clip on its way to its feature rows.

    `name` says of which pixels, made with which preprocessing.
    """

    name: str
    item: Media
    _tiles: Tiles | None = None
    _features: list[torch.Tensor] = field(default_factory=list)
    _rows: Rows | None = None

    @property
    def is_done(self) -> bool:
        return self._rows is not None

    @property
    def rows(self) -> Rows:
        """The feature rows of one that is done."""
        assert self._rows is not None
        return self._rows

    def left(self) -> Tiles:
        """Return the tiles that the tower has not seen."""
        assert self._tiles is not None  # as long as there are no rows
        return self._tiles[sum(map(len, self._features)) :]

    def take(self, features: torch.Tensor) -> torch.Tensor | None:
        """Add features of the next tiles; returns those of all once there are no others."""
        self._features.append(features)
        return None if len(self.left()) else torch.cat(self._features)

    def finish(self, rows: Rows) -> None:
        self._rows = rows
        self._tiles, self._features = None, []


class Features:
    """Computes what stands in the prompt for each picture and clip of a request.

    Everything but `preprocess` is for one thread only. `hits` and `misses` count pictures and clips
    since the start.
    """

    def __init__(self, loaded: LoadedModel, cache_bytes: int) -> None:
        self._loaded = loaded
        self._family = family_of(loaded)
        self._kept: LRUCache[str, Rows] = LRUCache(cache_bytes, _bytes)
        self._under_way: WeakValueDictionary[str, Encoding] = WeakValueDictionary()
        vision = loaded.model.config.vision_config
        self._tile_side = int(vision.image_size)
        self._most_tiles = max(1, _MOST_PATCHES // (self._tile_side // vision.patch_size) ** 2)
        self.hits = 0
        self.misses = 0

    @property
    def kept_bytes(self) -> int:
        return int(self._kept.currsize)

    def preprocess(self, media: Sequence[Media]) -> NamedTiles:
        """Return the tiles of what is not kept, of all of one request's media, by their names.

        How many pictures a request has matters, because OneVision tiles a single picture and gives
        each of several one tile. Safe to call from any thread.

        Raises:
            MediaNotAccepted: the model takes no video.
        """
        new = {name: item for name, item in self._named(media) if name not in self._kept}
        tiles = {name: self._frames(item) for name, item in new.items() if isinstance(item, Video)}
        images = {name: item for name, item in new.items() if isinstance(item, Image)}
        if images:
            pixels = [image.image for image in images.values()]
            found = self._family.tiles(self._loaded, pixels, _is_alone(media))
            tiles |= dict(zip(images, found, strict=True))
        return tiles

    def begin(self, media: Sequence[Media], preprocessed: NamedTiles) -> list[Encoding]:
        """Return one request's media in their order, some of them done already."""
        return [self._begun(media, name, item, preprocessed) for name, item in self._named(media)]

    @torch.inference_mode()
    def advance(self, encodings: Sequence[Encoding], most: int | None = None) -> None:
        """Take the first tiles of what is not done through the tower, in one call.

        They are `most` at most, but for a clip, whose frames go together; None stands for as many
        as the tower should take at once.
        """
        room = min(most or self._most_tiles, self._most_tiles)
        turn: list[tuple[Encoding, Tiles]] = []
        for encoding in dict.fromkeys(encodings):
            if encoding.is_done or room <= 0:
                continue
            if isinstance(encoding.item, Video):
                if not turn:
                    self._finish(encoding, pack_clip(self._loaded, encoding.left()))
                    return
                break
            turn.append((encoding, encoding.left()[:room]))
            room -= len(turn[-1][1])
        if not turn:
            return
        features = project(self._loaded, torch.cat([tiles for _, tiles in turn]))
        parts = torch.split(features, [len(tiles) for _, tiles in turn])
        for (encoding, _), part in zip(turn, parts, strict=True):
            if (complete := encoding.take(part)) is not None and isinstance(encoding.item, Image):
                size = encoding.item.image.size
                self._finish(encoding, self._family.pack(self._loaded, complete, size))

    def encode(self, media: Sequence[Media]) -> list[Encoding]:
        """Return one request's media, all of them done."""
        encodings = self.begin(media, self.preprocess(media))
        while not all(encoding.is_done for encoding in encodings):
            self.advance(encodings)
        return encodings

    @torch.inference_mode()
    def seconds_per_tile(self) -> float:
        """Measure how long the tower takes for one tile."""
        tile = torch.zeros(1, 3, self._tile_side, self._tile_side)
        started = time.monotonic()
        project(self._loaded, on_device(self._loaded, tile)).sum().item()  # waits for the device
        return time.monotonic() - started

    def _begun(
        self, media: Sequence[Media], name: str, item: Media, preprocessed: NamedTiles
    ) -> Encoding:
        known = self._under_way.get(name)
        if known is None and name in self._kept:
            known = Encoding(name, item, _rows=self._kept[name])
        if known is not None:
            self.hits += 1
            return known
        self.misses += 1
        if name not in preprocessed:  # it was kept at that time, and is not any more
            preprocessed = self.preprocess(media)
        encoding = Encoding(name, item, preprocessed[name])
        self._under_way[name] = encoding
        return encoding

    def _finish(self, encoding: Encoding, rows: Rows) -> None:
        rows = rows.clone()  # not a view of a whole batch
        encoding.finish(rows)
        del self._under_way[encoding.name]
        if _bytes(rows) <= self._kept.maxsize:
            self._kept[encoding.name] = rows

    def _frames(self, clip: Video) -> Tiles:
        if self._loaded.frames is None:
            raise MediaNotAccepted(self._loaded.name, "video")
        return self._loaded.frames([frame.image for frame in clip.frames])

    def _named(self, media: Sequence[Media]) -> list[tuple[str, Media]]:
        is_alone = self._family.depends_on_number and _is_alone(media)
        return [(_name(item, is_alone=is_alone), item) for item in media]


def _name(item: Media, *, is_alone: bool) -> str:
    if isinstance(item, Video):
        frames = "".join(frame.sha256 for frame in item.frames)
        return "clip " + hashlib.sha256(frames.encode()).hexdigest()
    return f"{'alone' if is_alone else 'each'} {item.sha256}"


def _is_alone(media: Sequence[Media]) -> bool:
    return sum(isinstance(item, Image) for item in media) == 1


def _bytes(rows: Rows) -> int:
    return rows.numel() * rows.element_size()
