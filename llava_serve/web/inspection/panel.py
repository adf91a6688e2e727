"""Panel of an answer as HTML: what its model saw, image by image, and the whole prompt."""

from collections.abc import Sequence

from llava_serve.protocol.inspection import (
    InspectedImage,
    InspectedMedia,
    InspectedVideo,
    Inspection,
    Padding,
    Size,
)
from llava_serve.storage.media import StoredFile
from llava_serve.web.inspection import drawing, prompt_view
from llava_serve.web.render import plain_text

CANNOT = (
    "What this model sees cannot be shown: the worker that serves it does not tell. "
    "Its answers are not affected."
)
_IMAGE, _VIDEO = "Picture {number}", "Clip {number}"
_EARLIER = "of an earlier question"
_PROMPT, _CONTEXT = "The prompt, as the model reads it", "The context"
_TOKENS = "{tokens:,} tokens"
_DIVIDED = "tiles {tiles:,}, overview {overview:,}, line ends {newlines:,}"
_FRAMES = "{count} frames"
_CACHED = {
    True: "in the worker's cache: nothing of it is computed again",
    False: "not in the worker's cache",
}
_PADDED = "left {left:.0f}, top {top:.0f}, right {right:.0f}, bottom {bottom:.0f} pixels"
_UNPADDED, _UNCROPPED = "none", "nothing"
_CROPPED = "{percent:.0f} % of the picture"
_CUT = "{columns} \N{MULTIPLICATION SIGN} {rows} tiles of {tile}"
_AND_OVERVIEW = "{tiles}, and the whole as an overview"
_ONE = "one tile of {tile}"
_FACTS = {
    "file": "File",
    "upright": "Upright",
    "scaled": "Scaled to",
    "tiles": "Cut into",
    "padding": "Padding",
    "cropped": "Cropped away",
    "frames": "Sampled",
    "tokens": "Tokens",
    "cache": "Features",
}


def panel(
    told: Inspection, files: Sequence[tuple[int, StoredFile]], number: int, reused: int | None
) -> str:
    """Render an inspection of the question `number`, whose `files` come with those before it.

    `reused` are the tokens of the prompt that were cached when the answer was made.
    """
    names, parts = [], []
    for place, (media, (exchange, file)) in enumerate(zip(told.media, files, strict=False), 1):
        name = (_IMAGE if media.type == "image" else _VIDEO).format(number=place)
        names.append(name)
        parts.append(_media(media, file, name, is_earlier=exchange != number))
    return (
        "".join(parts)
        + f"<section><h3>{_CONTEXT}</h3>{prompt_view.tokens_by_part(told, reused)}</section>"
        + f"<section><h3>{_PROMPT}</h3>{prompt_view.rendered(told, names)}</section>"
    )


def refusal() -> str:
    """Render that nothing is known of what this model sees."""
    return f'<p class="cannot">{CANNOT}</p>'


def _media(media: InspectedMedia, file: StoredFile, name: str, *, is_earlier: bool) -> str:
    if isinstance(media, InspectedImage):
        facts = _image_facts(media)
        drawn = drawing.tiles_over(media, file) + drawing.seen_tiles(media)
    else:
        facts, drawn = _video_facts(media), drawing.frames(media)
    listed = "".join(
        f"<div><dt>{_FACTS[key]}</dt><dd>{plain_text(fact)}</dd></div>"
        for key, fact in facts.items()
    )
    about = f"{_EARLIER} · " if is_earlier else ""
    tokens = _TOKENS.format(tokens=media.tokens)
    return (
        f'<details class="seen"{"" if is_earlier else " open"}><summary><b>{name}</b> '
        f"<span>{about}{plain_text(file.name)} · {tokens}</span></summary>"
        f'<div class="drawn">{drawn}</div><dl>{listed}</dl></details>'
    )


def _image_facts(image: InspectedImage) -> dict[str, str]:
    tile = _size(image.tile_size)
    is_tiled = len(image.tiles) > 1
    tiles = _CUT.format(columns=image.grid[0], rows=image.grid[1], tile=tile)
    if any(each.overview for each in image.tiles):
        tiles = _AND_OVERVIEW.format(tiles=tiles)
    divided = _DIVIDED.format(
        tiles=image.tile_tokens, overview=image.overview_tokens, newlines=image.newline_tokens
    )
    return {
        "file": f"{image.format} {_size(image.sent_size)}".strip(),
        "upright": _size(image.size),
        "scaled": _size(image.resized_size),
        "tiles": tiles if is_tiled else _ONE.format(tile=tile),
        "padding": _padded(image.padding),
        "cropped": _cropped(image),
        "tokens": f"{image.tokens:,} ({divided})" if is_tiled else f"{image.tokens:,}",
        "cache": _CACHED[image.cached],
    }


def _video_facts(video: InspectedVideo) -> dict[str, str]:
    return {
        "file": f"{video.format} {_size(video.sent_size)}".strip(),
        "upright": _size(video.size),
        "frames": _FRAMES.format(count=len(video.frames)),
        "tiles": _ONE.format(tile=_size(video.tile_size)),
        "tokens": f"{video.tokens:,}",
        "cache": _CACHED[video.cached],
    }


def _size(size: Size) -> str:
    return f"{size[0]:,} \N{MULTIPLICATION SIGN} {size[1]:,}"


def _padded(padding: Padding) -> str:
    sides = padding.model_dump()
    return _PADDED.format(**sides) if any(round(side) for side in sides.values()) else _UNPADDED


def _cropped(image: InspectedImage) -> str:
    kept, (width, height) = image.kept, image.size
    area = (kept.right - kept.left) * (kept.bottom - kept.top)
    percent = 100 * (1 - area / (width * height))
    return _CROPPED.format(percent=percent) if percent >= 0.5 else _UNCROPPED
