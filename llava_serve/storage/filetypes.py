"""How an image or video file is named, shown and sent, by the format its first bytes tell."""

from dataclasses import dataclass
from typing import Literal

RENDITION_MIME = "image/webp"


@dataclass(frozen=True, slots=True)
class FileType:
    """`extension` is without the dot; `kind` says what a model gets it as.

    Where not every browser shows a format, the page shows an image made of it, its rendition.
    """

    extension: str
    mime: str
    kind: Literal["image", "video"]
    has_rendition: bool = False

    @property
    def needs_player(self) -> bool:
        """Whether a browser shows it as a video; a GIF that moves is a picture to it."""
        return self.mime.startswith("video/") and not self.has_rendition

    @property
    def shown_mime(self) -> str:
        """The type of what the page shows of it."""
        return RENDITION_MIME if self.has_rendition else self.mime


# The keys are the names of `media.sniff`. SVG is missing: it can carry scripts.
BY_FORMAT = {
    "PNG": FileType("png", "image/png", "image"),
    "JPEG": FileType("jpg", "image/jpeg", "image"),
    "WEBP": FileType("webp", "image/webp", "image"),
    "GIF": FileType("gif", "image/gif", "image"),
    "BMP": FileType("bmp", "image/bmp", "image"),
    "AVIF": FileType("avif", "image/avif", "image"),
    "HEIC": FileType("heic", "image/heic", "image", has_rendition=True),
    "TIFF": FileType("tif", "image/tiff", "image", has_rendition=True),
    "MP4": FileType("mp4", "video/mp4", "video"),
    "MOV": FileType("mov", "video/quicktime", "video"),
    "3GP": FileType("3gp", "video/3gpp", "video"),
    "WEBM": FileType("webm", "video/webm", "video"),
    "MKV": FileType("mkv", "video/matroska", "video", has_rendition=True),
    "AVI": FileType("avi", "video/x-msvideo", "video", has_rendition=True),
}
BY_EXTENSION = {filetype.extension: filetype for filetype in BY_FORMAT.values()}
MAY_MOVE = (BY_FORMAT["GIF"], BY_FORMAT["WEBP"])
