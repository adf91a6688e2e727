"""Image files that are shown to a judge: found by name, of the formats that judges take."""

from collections.abc import Iterable
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.evaluation.review.judges import ShownImage
from llava_serve.media.sniff import HEAD_BYTES, sniff

# Source: docs.anthropic.com, "Vision"; platform.openai.com, "Images and vision".
_MIMES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


def require_images(folder: Path, names: Iterable[str]) -> None:
    """Look for every image before the first review is paid for.

    Raises:
        CommandError: one is missing, or of a format that judges do not take.
    """
    for name in names:
        _mime(folder / name)


def read_image(folder: Path, name: str) -> ShownImage:
    """Return an image file. It blocks.

    Raises:
        CommandError: it is not what it was when the run began.
    """
    path = folder / name
    mime = _mime(path)
    return ShownImage(path.read_bytes(), mime)


def _mime(path: Path) -> str:
    try:
        with path.open("rb") as file:
            kind = sniff(file.read(HEAD_BYTES))
    except OSError as exc:
        what = f"cannot read the image {path}: {exc.strerror}"
        raise CommandError(what, "Correct --show-images, or add the file.") from exc
    if kind not in _MIMES:
        what = f"the image {path} cannot be shown to a judge: it is {kind}"
        raise CommandError(what, f"Convert it to one of {', '.join(_MIMES)}.")
    return _MIMES[kind]
