"""Tiles of an image or video as an inspection tells them: what each shows, its rows, its pixels."""

import base64
import io
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image as PilImage

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.media_places import sent_file
from llava_serve.engines.torch.families import Tiles
from llava_serve.engines.torch.feature_count import FeatureCounter
from llava_serve.engines.torch.tile_layout import (
    TileLayout,
    anyres_layout,
    squeezed_layout,
    whole_layout,
)
from llava_serve.protocol.inspection import (
    InspectedFrame,
    InspectedImage,
    InspectedTile,
    InspectedVideo,
    Size,
)
from llava_serve.request import Image, Video

_SHOWN_SIDE = 168  # pixels, of a tile that is shown


@dataclass(frozen=True, slots=True)
class InspectedTiles:
    """What is known of one image or video of the message with this index.

    `values` are its tiles as they reach the vision tower, which makes `patches` features of each;
    with `is_overview` the only one is what stands before other tiles elsewhere.
    """

    message: int
    values: Tiles
    patches: int
    is_cached: bool
    with_pixels: bool
    is_overview: bool = False

    @property
    def tile_size(self) -> Size:
        height, width = self.values.shape[-2:]
        return width, height


def inspect_image(
    loaded: LoadedModel, counter: FeatureCounter, image: Image, seen: InspectedTiles
) -> InspectedImage:
    """Tell what becomes of an image."""
    decoded = image.image.size
    file = sent_file(image, decoded)
    counts = counter.of_image(len(seen.values), seen.patches, decoded)
    layout, *overviews = (
        replace(each, size=file.upright_size)
        for each in _layouts(loaded.image_processor, decoded, seen)
    )
    columns, rows = layout.grid
    placed = [(each, 0, True) for each in overviews]
    placed += [(layout, i, False) for i in range(columns * rows)]
    tiles = [
        InspectedTile(
            overview=is_overview,
            shows=own.shown(own.corner(index), own.tile),
            filled=own.filled(own.corner(index), own.tile),
            tokens=tokens,
            pixels=_shown(loaded.image_processor, values) if seen.with_pixels else None,
        )
        for (own, index, is_overview), values, tokens in zip(
            placed, seen.values, counts.tiles, strict=True
        )
    ]
    overview_tokens = sum(each.tokens for each in tiles if each.overview)
    return InspectedImage(
        message=seen.message,
        format=file.format,
        sent_size=file.size,
        size=file.upright_size,
        decoded_size=decoded,
        resized_size=(round(layout.resized[0]), round(layout.resized[1])),
        kept=layout.kept,
        padding=layout.padding,
        canvas_size=layout.canvas,
        grid=layout.grid,
        tile_size=seen.tile_size,
        tiles=tiles,
        tokens=counts.total,
        tile_tokens=sum(counts.tiles) - overview_tokens,
        overview_tokens=overview_tokens,
        newline_tokens=counts.newlines,
        cached=seen.is_cached,
    )


def inspect_video(
    loaded: LoadedModel, counter: FeatureCounter, video: Video, seen: InspectedTiles
) -> InspectedVideo:
    """Tell what becomes of a video."""
    processor = loaded.frames.square if loaded.frames and seen.with_pixels else None
    upright = video.frames[0].image.size
    file = sent_file(video, upright)
    counts = counter.of_video(len(video.frames), seen.patches)
    return InspectedVideo(
        message=seen.message,
        format=file.format,
        sent_size=file.size,
        size=file.upright_size,
        tile_size=seen.tile_size,
        frames=[
            InspectedFrame(
                time_s=frame.time_s,
                tokens=tokens,
                pixels=_shown(processor, values) if processor else None,
            )
            for frame, values, tokens in zip(video.frames, seen.values, counts.tiles, strict=True)
        ],
        tokens=counts.total,
        newline_tokens=counts.newlines,
        cached=seen.is_cached,
    )


def _layouts(processor: Any, size: Size, seen: InspectedTiles) -> list[TileLayout]:
    """Return the layout of an image of (width, height), and that of its overview if it has one."""
    if seen.is_overview:
        return [squeezed_layout(size, seen.tile_size)]
    if len(seen.values) == 1:
        return [whole_layout(processor, size, seen.tile_size)]
    layout = anyres_layout(processor, size, seen.tile_size)
    return [layout, squeezed_layout(size, seen.tile_size)]


def _shown(processor: Any, values: torch.Tensor) -> str:
    """Return a tile, (3, height, width) and normalised, as a `data:` URL of a small PNG."""
    mean, std = torch.tensor([processor.image_mean, processor.image_std])[..., None, None]
    levels = ((values * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    image = PilImage.fromarray(levels.permute(1, 2, 0).numpy())
    image.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
