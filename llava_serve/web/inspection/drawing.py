"""Drawings of an image or video as its model sees it: tiles over the thumbnail, tile by tile."""

from collections.abc import Sequence

from llava_serve.protocol.inspection import InspectedImage, InspectedVideo, Rectangle, Size
from llava_serve.storage.media import StoredFile
from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import translate

_TIME = "{time_s:.1f} s"
_PNG = "data:image/png;base64,"
_FONT = 0.3  # of a tile's shorter side, and at most of the image's
_LARGEST_FONT = 0.12


def tiles_over(image: InspectedImage, file: StoredFile) -> str:
    """Draw the numbered tiles over the thumbnail; what no tile shows is darker."""
    width, height = image.size
    parts = [tile for tile in image.tiles if not tile.overview]
    grid = {"columns": image.grid[0], "rows": image.grid[1]}
    label = translate("inspect.tiles_of", name=plain_text(file.name), **grid)
    whole = _path(Rectangle(left=0, top=0, right=width, bottom=height))
    drawn = "".join(_tile(tile.shows, number, image.size) for number, tile in enumerate(parts, 1))
    return (
        '<div class="over">'
        f'<img src="media/{file.filename}" alt="" width="{width}" height="{height}">'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f'<path class="lost" fill-rule="evenodd" d="{whole}{_path(image.kept)}"/>'
        f"{drawn}</svg></div>"
    )


def _path(box: Rectangle) -> str:
    return f"M{box.left:.1f} {box.top:.1f}H{box.right:.1f}V{box.bottom:.1f}H{box.left:.1f}Z"


def _tile(shows: Rectangle, number: int, size: Size) -> str:
    width, height = shows.right - shows.left, shows.bottom - shows.top
    if width <= 0 or height <= 0:
        return ""  # nothing but padding
    font = min(_FONT * min(width, height), _LARGEST_FONT * max(size))
    x, y = shows.left + width / 2, shows.top + height / 2
    return (
        f'<path class="halo" d="{_path(shows)}"/><path class="edge" d="{_path(shows)}"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{font:.1f}">{number}</text>'
    )


def seen_tiles(image: InspectedImage) -> str:
    """Show the pixels that reached the vision tower; nothing where the worker sent none."""
    number, shown = 0, []
    for tile in image.tiles:
        number += not tile.overview
        overview, name = translate("inspect.overview"), translate("inspect.tile", number=number)
        shown.append((tile.pixels, overview if tile.overview else name, tile.tokens))
    return _strip(shown) if any(tile.pixels for tile in image.tiles) else ""


def frames(video: InspectedVideo) -> str:
    """Show the frames that were sampled, with their times."""
    shown = []
    for number, frame in enumerate(video.frames, 1):
        is_timed = frame.time_s is not None
        name = translate("inspect.frame", number=number)
        name = _TIME.format(time_s=frame.time_s) if is_timed else name
        shown.append((frame.pixels, name, frame.tokens))
    return _strip(shown)


def _strip(shown: Sequence[tuple[str | None, str, int]]) -> str:
    """Render figures of (pixels, name, tokens)."""
    figures = "".join(
        f"<figure>{_pixels(pixels, name)}<figcaption><b>{name}</b> "
        f"{translate('inspect.tokens', count=tokens, tokens=f'{tokens:,}')}</figcaption></figure>"
        for pixels, name, tokens in shown
    )
    return f'<div class="strip">{figures}</div>'


def _pixels(pixels: str | None, name: str) -> str:
    if pixels is None or not pixels.startswith(_PNG):
        return ""
    return f'<img src="{plain_text(pixels)}" alt="{name}">'
