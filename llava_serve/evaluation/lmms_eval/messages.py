"""Messages of an lmms-eval task as turns: its pictures as PNG, its videos as files."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import PIL.Image

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Medium, Turn

_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class LoadedImage(Medium):
    """An image that lmms-eval has loaded; its PNG is made when it is read first.

    That takes ten times as long as loading it, and most walks over the questions read no image.
    """

    __slots__ = ("_image", "_png")
    _image: PIL.Image.Image
    _png: bytes

    def __init__(self, image: PIL.Image.Image) -> None:
        object.__setattr__(self, "kind", "image")
        object.__setattr__(self, "_image", image)
        object.__setattr__(self, "_png", b"")

    @property
    def source(self) -> bytes:
        """Bytes of a PNG file."""
        if not self._png:
            object.__setattr__(self, "_png", _png(self._image))
        return self._png


def turns_of(messages: Iterable[Mapping[str, Any]], asked: str) -> tuple[Turn, ...]:
    """Return the turns of a question; `asked` names it where it cannot be asked.

    `messages` are what a task's `doc_to_messages` returns.

    Raises:
        CommandError: it has audio, a part of a video, or a file that is not on this machine.

    Source: EvolvingLMMs-Lab/lmms-eval@75571cfe lmms_eval/protocol.py::ChatMessages (the parts).
    """
    return tuple(_turn(message, asked) for message in messages)


def _turn(message: Mapping[str, Any], asked: str) -> Turn:
    text, media, places = "", [], []
    content = message["content"]
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if part["type"] == "text":
            text += part["text"]
        else:
            media.append(_medium(part, asked))
            places.append(len(text))
    return Turn(message["role"], text, tuple(media), tuple(places) if any(places) else ())


def _medium(part: Mapping[str, Any], asked: str) -> Medium:
    kind, source = part["type"], part["url"]
    if kind == "image" and isinstance(source, PIL.Image.Image):
        return LoadedImage(source)
    if kind not in ("image", "video"):
        raise _refused(asked, f"has {kind}", "Only images and videos can be asked about.")
    if part.get("start_time") is not None or part.get("end_time") is not None:
        raise _refused(asked, "is about a part of a video", "Cut the video, and take it whole.")
    if not isinstance(source, str | Path) or "://" in str(source):
        what = f"has {_article(kind)} that is no file: {str(source)[:80]!r}"
        raise _refused(asked, what, "Write a task of your own that names files.")
    return Medium(Path(source), kind)


def _article(kind: str) -> str:
    return "an image" if kind == "image" else "a video"


def _png(image: PIL.Image.Image) -> bytes:
    if image.mode not in _OF_PNG:
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)  # the default takes seven times as long
    return file.getvalue()


def _refused(asked: str, what: str, remedy: str) -> CommandError:
    return CommandError(f"{asked} {what}", remedy)
