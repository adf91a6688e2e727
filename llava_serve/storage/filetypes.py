"""How a picture or video file is named, shown and sent, by the format its first bytes tell."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class FileType:
    """`extension` is without the dot; `kind` says what a model gets it as."""

    extension: str
    mime: str
    kind: Literal["image", "video"]

    @property
    def needs_player(self) -> bool:
        """Whether a browser shows it as a video; a GIF that moves is a picture to it."""
        return self.mime.startswith("video/")


# The keys are the names of `media.sniff`. SVG is missing: it can carry scripts.
BY_FORMAT = {
    "PNG": FileType("png", "image/png", "image"),
    "JPEG": FileType("jpg", "image/jpeg", "image"),
    "WEBP": FileType("webp", "image/webp", "image"),
    "GIF": FileType("gif", "image/gif", "image"),
    "BMP": FileType("bmp", "image/bmp", "image"),
    "MP4": FileType("mp4", "video/mp4", "video"),
    "WEBM": FileType("webm", "video/webm", "video"),
}
BY_EXTENSION = {filetype.extension: filetype for filetype in BY_FORMAT.values()}
MAY_MOVE = (BY_FORMAT["GIF"], BY_FORMAT["WEBP"])
