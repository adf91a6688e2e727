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
from llava_serve.web.translations.language import translate

_MEDIA = {"image": "inspect.image", "video": "inspect.video"}
_CACHED = {True: "inspect.cached", False: "inspect.not_cached"}


def panel(
    told: Inspection, files: Sequence[tuple[int, StoredFile]], number: int, reused: int | None
) -> str:
    """Render an inspection of the question `number`, whose `files` come with those before it.

    `reused` are the tokens of the prompt that were cached when the answer was made.
    """
    names, parts = [], []
    for place, (media, (exchange, file)) in enumerate(zip(told.media, files, strict=False), 1):
        name = translate(_MEDIA[media.type], number=place)
        names.append(name)
        parts.append(_media(media, file, name, is_earlier=exchange != number))
    context, prompt = translate("inspect.context"), translate("inspect.prompt")
    return (
        "".join(parts)
        + f"<section><h3>{context}</h3>{prompt_view.tokens_by_part(told, reused)}</section>"
        + f"<section><h3>{prompt}</h3>{prompt_view.rendered(told, names)}</section>"
    )


def refusal() -> str:
    """Render that nothing is known of what this model sees."""
    return f'<p class="cannot">{translate("inspect.cannot")}</p>'


def _media(media: InspectedMedia, file: StoredFile, name: str, *, is_earlier: bool) -> str:
    if isinstance(media, InspectedImage):
        facts = _image_facts(media)
        drawn = drawing.tiles_over(media, file) + drawing.seen_tiles(media)
    else:
        facts, drawn = _video_facts(media), drawing.frames(media)
    listed = "".join(
        f"<div><dt>{translate(key)}</dt><dd>{plain_text(fact)}</dd></div>"
        for key, fact in facts.items()
    )
    about = f"{translate('inspect.of_earlier_question')} · " if is_earlier else ""
    tokens = translate("inspect.tokens", count=media.tokens, tokens=f"{media.tokens:,}")
    return (
        f'<details class="seen"{"" if is_earlier else " open"}><summary><b>{name}</b> '
        f"<span>{about}{plain_text(file.name)} · {tokens}</span></summary>"
        f'<div class="drawn">{drawn}</div><dl>{listed}</dl></details>'
    )


def _image_facts(image: InspectedImage) -> dict[str, str]:
    """Return what is told of an image, each under the key of its name."""
    tile = _size(image.tile_size)
    is_tiled = len(image.tiles) > 1
    tiles = translate("inspect.one_tile", tile=tile)
    tokens = f"{image.tokens:,}"
    if is_tiled:
        grid = {"columns": image.grid[0], "rows": image.grid[1], "tile": tile}
        has_overview = any(each.overview for each in image.tiles)
        tiles = translate("inspect.tiles", **grid)
        tiles = translate("inspect.tiles_and_overview", tiles=tiles) if has_overview else tiles
        tokens = translate(
            "inspect.tokens_divided",
            tokens=tokens,
            tiles=f"{image.tile_tokens:,}",
            overview=f"{image.overview_tokens:,}",
            newlines=f"{image.newline_tokens:,}",
        )
    return {
        "inspect.fact.file": f"{image.format} {_size(image.sent_size)}".strip(),
        "inspect.fact.upright": _size(image.size),
        "inspect.fact.scaled": _size(image.resized_size),
        "inspect.fact.tiles": tiles,
        "inspect.fact.padding": _padded(image.padding),
        "inspect.fact.cropped": _cropped(image),
        "inspect.fact.tokens": tokens,
        "inspect.fact.cache": translate(_CACHED[image.cached]),
    }


def _video_facts(video: InspectedVideo) -> dict[str, str]:
    return {
        "inspect.fact.file": f"{video.format} {_size(video.sent_size)}".strip(),
        "inspect.fact.upright": _size(video.size),
        "inspect.fact.frames": translate("inspect.frames", count=len(video.frames)),
        "inspect.fact.tiles": translate("inspect.one_tile", tile=_size(video.tile_size)),
        "inspect.fact.tokens": f"{video.tokens:,}",
        "inspect.fact.cache": translate(_CACHED[video.cached]),
    }


def _size(size: Size) -> str:
    return f"{size[0]:,} \N{MULTIPLICATION SIGN} {size[1]:,}"


def _padded(padding: Padding) -> str:
    sides = {name: round(side) for name, side in padding.model_dump().items()}
    return translate("inspect.padded" if any(sides.values()) else "inspect.unpadded", **sides)


def _cropped(image: InspectedImage) -> str:
    kept, (width, height) = image.kept, image.size
    area = (kept.right - kept.left) * (kept.bottom - kept.top)
    percent = 100 * (1 - area / (width * height))
    if percent < 0.5:
        return translate("inspect.uncropped")
    return translate("inspect.cropped", percent=f"{percent:.0f}")
