"""Bytes become an upright RGB picture, within limits that hold before anything is decoded."""

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.base import Picture
from llava_serve.media.sniff import PICTURES, sniff

MAX_SIDE = 20_000  # pixels; beyond it resizing alone costs more than an answer
MAX_RATIO = 100  # longer to shorter side; beyond it the shorter side vanishes when resized

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's decoders raise on damaged files.
DAMAGE: tuple[type[Exception], ...] = (
    *_BOMB,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest file in bytes, largest picture in pixels."""

    file_bytes: int
    pixels: int


def decode_picture(data: bytes, limits: Limits) -> Picture:
    """Decode a PNG, JPEG, WebP, GIF or BMP file; of an animation the first frame.

    Raises:
        MediaUnreadable: another format, or a damaged or cut file.
        MediaTooLarge: beyond `limits`, `MAX_SIDE` or `MAX_RATIO`; told from the header alone.
    """
    kind = sniff(data)
    check_bytes(len(data), limits.file_bytes)
    if kind not in PICTURES:
        raise MediaUnreadable(
            f"it is not a picture of a known format ({', '.join(PICTURES)}); "
            f"by its content it seems to be {kind}"
        )
    with open_image(data, kind, limits) as image:
        try:
            return as_picture(ImageOps.exif_transpose(image))
        except DAMAGE as exc:
            raise MediaUnreadable(f"the {kind} file is damaged or cut short ({exc})") from exc


def check_bytes(size: int, limit_bytes: int) -> None:
    """Check the size of a file. Raises: MediaTooLarge."""
    if size > limit_bytes:
        raise MediaTooLarge(
            f"the file has {size / 1e6:.1f} MB; at most {limit_bytes / 1e6:g} MB are accepted "
            "(--max-image-mb)"
        )


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Check (width, height).

    Raises:
        MediaTooLarge: too many pixels, too long a side, or too thin a picture.
    """
    width, height = size
    named = f"the picture has {width} x {height} pixels"
    if width * height > limits.pixels:
        raise MediaTooLarge(
            f"{named}; at most {limits.pixels / 1e6:g} megapixels are accepted "
            "(--max-image-megapixels)"
        )
    if max(size) > MAX_SIDE:
        raise MediaTooLarge(f"{named}; a side may have at most {MAX_SIDE}")
    if max(size) > MAX_RATIO * min(size):
        raise MediaTooLarge(
            f"{named}; the longer side may be at most {MAX_RATIO} times the shorter one"
        )


def open_image(data: bytes, kind: str, limits: Limits) -> Image.Image:
    """Read the header only.

    Raises:
        MediaUnreadable: the header is damaged.
        MediaTooLarge: the size it announces is beyond `limits`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
    except _BOMB as exc:  # Pillow's own bound, which looks at the header too
        raise MediaTooLarge(
            f"the picture is far beyond the {limits.pixels / 1e6:g} megapixels that are accepted: "
            f"{exc}"
        ) from exc
    except UnidentifiedImageError as exc:
        raise MediaUnreadable(f"the {kind} file's header is damaged or cut short") from exc
    except DAMAGE as exc:
        raise MediaUnreadable(f"the {kind} file's header is damaged or cut short ({exc})") from exc
    check_size(image.size, limits)
    return image


def as_picture(image: Image.Image) -> Picture:
    """Convert any mode to RGB and name the result by its content."""
    rgb = _to_rgb(image)
    digest = hashlib.sha256(b"%d %d " % rgb.size)
    digest.update(rgb.tobytes())
    return Picture(rgb, digest.hexdigest())


def _to_rgb(image: Image.Image) -> Image.Image:
    """Show transparency over white and 16-bit greys by their upper byte."""
    if image.mode.startswith("I;16"):
        image.info.pop("transparency", None)  # one 16-bit level, which the 8-bit picture lost
        image = image.point(lambda level: level / 256).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image).convert("RGB")
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    rgb.info = {}  # profiles and comments are no part of the picture
    return rgb
