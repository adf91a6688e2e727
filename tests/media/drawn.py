"""Images that the tests of this folder draw, encode and look at."""

import io
import struct
from typing import Any

from PIL import Image
from pillow_heif import from_pillow

from llava_serve.media.limits import FileLimits

LIMITS = FileLimits(file_bytes=1_000_000, pixels=1_000_000)
RED, WHITE, BLUE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 255), (0, 0, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    if kind == "HEIC":
        from_pillow(image).save(file, quality=100, **options)
    else:
        image.save(file, kind, **options)
    return file.getvalue()


def corner_marked() -> Image.Image:
    """A white image, 40 x 20, whose upper left corner is red."""
    image = Image.new("RGB", (40, 20), WHITE)
    image.paste(RED, (0, 0, 8, 8))
    return image


def close(one: object, other: tuple[int, ...], tolerance: int = 12) -> bool:
    assert isinstance(one, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def red_corner(image: Image.Image) -> tuple[int, int]:
    """Say which corner is red: (0, 0) is the upper left one, (1, 0) the upper right one."""
    width, height = image.size
    corners = {
        (x, y): (3 if x == 0 else width - 4, 3 if y == 0 else height - 4)
        for x in (0, 1)
        for y in (0, 1)
    }
    (found,) = [name for name, at in corners.items() if close(image.getpixel(at), RED, 60)]
    return found


# Where EXIF's orientations 1 to 8 put the corner, and whether they lay the image on its side.
CORNERS = {
    1: (0, 0),
    2: (1, 0),
    3: (1, 1),
    4: (0, 1),
    5: (0, 0),
    6: (1, 0),
    7: (1, 1),
    8: (0, 1),
}


def exif_with(orientation: int, *entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """An EXIF block of an orientation and `entries`: tag, type, count, four bytes of value."""
    mark = b"II" if order == "<" else b"MM"
    value = struct.pack(f"{order}HH", orientation, 0)
    found = sorted([(0x0112, 3, 1, value), *entries])
    body = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count) + value for tag, kind, count, value in found
    )
    head = mark + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(found))
    return b"Exif\0\0" + head + body + bytes(4)
