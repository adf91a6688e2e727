"""Image files that are shown to a judge: found by name, of the formats that judges take."""

from collections.abc import Iterable
from pathlib import Path

from llava_serve.errors import CommandError, MediaTooLarge, MediaUnreadable
from llava_serve.evaluation.media_file import read_media
from llava_serve.evaluation.review.judges import ShownImage
from llava_serve.media.sniff import sniff

# Source: docs.anthropic.com, "Vision"; platform.openai.com, "Images and vision".
_MIMES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


def require_images(folder: Path, names: Iterable[str]) -> None:
    """Look for every image before the first review is paid for.

    Raises:
        CommandError: one is missing, or of a format that judges do not take.
    """
    for name in names:
        _read(folder / name)


def read_image(folder: Path, name: str) -> ShownImage:
    """Return an image file. It blocks.

    Raises:
        CommandError: it is not what it was when the run began.
    """
    data, mime = _read(folder / name)
    return ShownImage(data, mime)


def _read(path: Path) -> tuple[bytes, str]:
    try:
        data = read_media(path)
    except (MediaTooLarge, MediaUnreadable) as exc:
        what = f"cannot read the image {path}: {exc.message}"
        raise CommandError(what, "Correct --show-images, or add the file.") from exc
    kind = sniff(data)
    if kind not in _MIMES:
        what = f"the image {path} cannot be shown to a judge: it is {kind}"
        raise CommandError(what, f"Convert it to one of {', '.join(_MIMES)}.")
    return data, _MIMES[kind]
