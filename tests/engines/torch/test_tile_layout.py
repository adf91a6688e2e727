"""What a layout says that a tile shows is what the processor's own code puts into it."""

from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.torch.families import family_of
from llava_serve.engines.torch.feature_count import FeatureCounter
from llava_serve.engines.torch.tile_inspection import InspectedTiles, inspect_image
from llava_serve.protocol.inspection import InspectedImage, InspectedTile, Rectangle
from llava_serve.request import Image, SentFile
from tests.checkpoints.golden_cases import ALL

Load = Callable[[str], LoadedModel]

SIZES = [(32, 32), (97, 40), (40, 97), (200, 30), (31, 29), (64, 95), (300, 190)]
FAMILIES = ["llava", "llava_interleave", "llava_next", "llava_onevision", "vipllava"]
PATCHES = 16
EDGE = 3  # pixels, into which a cubic filter carries the other side of an edge
TOLERANCE = 6  # levels: a tile is scaled as a part of the whole, and here by itself


def smooth(width: int, height: int) -> PIL.Image.Image:
    """Draw an image whose colour says where one is in it; nowhere is it black or the mean."""
    across = np.linspace(60, 250, width)[None].repeat(height, 0)
    down = np.linspace(60, 250, height)[:, None].repeat(width, 1)
    pixels = np.stack([across, down, np.full_like(across, 255)], -1)
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def inspected(
    loaded: LoadedModel, size: tuple[int, int], is_alone: bool = True
) -> tuple[PIL.Image.Image, torch.Tensor, InspectedImage]:
    image = smooth(*size)
    (values,) = family_of(loaded).tiles(loaded, [image], is_alone)
    tile = loaded.model.config.vision_config
    patches = (tile.image_size // tile.patch_size) ** 2
    seen = InspectedTiles(0, values, patches, is_cached=False, with_pixels=False)
    return image, values, inspect_image(loaded, FeatureCounter(loaded), Image(image, ""), seen)


def levels(loaded: LoadedModel, values: torch.Tensor) -> torch.Tensor:
    """Return a tile, (height, width, 3), as it was before it was normalised."""
    processor = loaded.image_processor
    mean, std = torch.tensor([processor.image_mean, processor.image_std])
    found: torch.Tensor = (values.permute(1, 2, 0) * std + mean) * 255
    return found


def check(
    loaded: LoadedModel, image: PIL.Image.Image, values: torch.Tensor, tile: InspectedTile
) -> None:
    """Compare a tile with what it is said to show, but for pixels at its edges."""
    filled, shown = tile.filled, levels(loaded, values)
    left, top = int(np.ceil(filled.left)), int(np.ceil(filled.top))
    right, bottom = int(filled.right), int(filled.bottom)
    if right - left > 4 and bottom - top > 4:
        box = (tile.shows.left, tile.shows.top, tile.shows.right, tile.shows.bottom)
        size = (round(filled.right - filled.left), round(filled.bottom - filled.top))
        expected = torch.from_numpy(np.array(image.resize(size, PIL.Image.Resampling.BICUBIC, box)))
        found = shown[top + 1 : bottom - 1, left + 1 : right - 1]
        expected = expected[1 : 1 + found.shape[0], 1 : 1 + found.shape[1]].float()
        assert (found[: len(expected)] - expected).abs().mean() < TOLERANCE
    is_padding = torch.ones(shown.shape[:2], dtype=torch.bool)
    is_padding[max(top - EDGE, 0) : bottom + EDGE, max(left - EDGE, 0) : right + EDGE] = False
    if is_padding.any():
        assert shown[is_padding].std(0).max() < 1


def area(rectangle: Rectangle) -> float:
    return (rectangle.right - rectangle.left) * (rectangle.bottom - rectangle.top)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "among others"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tile_shows_what_is_said_and_all_cover_what_is_kept(
    loaded: Load, family: str, is_alone: bool, size: tuple[int, int]
) -> None:
    model = loaded(family)
    image, tiles, told = inspected(model, size, is_alone)
    for values, tile in zip(tiles, told.tiles, strict=True):
        check(model, image, values, tile)
    parts = [area(tile.shows) for tile in told.tiles if not tile.overview]
    assert sum(parts) == pytest.approx(area(told.kept))
    if family != "llava" and family != "vipllava":  # which crop the middle
        assert area(told.kept) == pytest.approx(size[0] * size[1])
    assert [tile.overview for tile in told.tiles] == [
        len(told.tiles) > 1 and i == 0 for i in range(len(told.tiles))
    ]
    assert told.tile_tokens + told.overview_tokens + told.newline_tokens == told.tokens


@pytest.mark.parametrize(
    "key", ["A.wide", "B.wide", "C.multi_pad", "D.single_demo", "D.single_pad"]
)
def test_the_same_holds_for_the_layout_of_llavas_own_code(key: str) -> None:
    loaded = next(golden for golden in ALL if str(golden) == key).load()
    for size in ((300, 190), (110, 176)):
        image, tiles, told = inspected(loaded, size)
        for values, tile in zip(tiles, told.tiles, strict=True):
            check(loaded, image, values, tile)
        assert sum(area(t.shows) for t in told.tiles if not t.overview) == pytest.approx(
            size[0] * size[1]
        )


@pytest.mark.parametrize("size", [(90, 40), (33, 90)])
def test_the_only_tile_of_a_coarse_image_shows_all_of_it(
    loaded: Load, size: tuple[int, int]
) -> None:
    model, image = loaded("llava_next"), smooth(*size)
    (values,) = family_of(model).tiles(model, [image], True)
    seen = InspectedTiles(
        0, values[:1], PATCHES, is_cached=False, with_pixels=False, is_overview=True
    )
    told = inspect_image(model, FeatureCounter(model), Image(image, ""), seen)
    (tile,) = told.tiles
    check(model, image, values[0], tile)
    assert area(tile.shows) == size[0] * size[1]


def test_rectangles_of_a_reduced_image_are_in_pixels_of_the_one_that_was_sent(loaded: Load) -> None:
    model = loaded("llava_next")
    (values,) = family_of(model).tiles(model, [smooth(100, 50)], True)
    seen = InspectedTiles(0, values, PATCHES, is_cached=False, with_pixels=True)
    image = Image(smooth(100, 50), "", SentFile("JPEG", (400, 800), (800, 400)))
    told = inspect_image(model, FeatureCounter(model), image, seen)
    assert (told.sent_size, told.size, told.decoded_size) == ((400, 800), (800, 400), (100, 50))
    assert (told.kept.right, told.kept.bottom) == (800, 400)
    assert all((tile.pixels or "").startswith("data:image/png;base64,") for tile in told.tiles)
