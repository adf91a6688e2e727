"""HEIC and AVIF files, which phones make: opened without the EXIF that they carry along.

In these formats boxes of the container say how the picture is turned, and their decoders apply
that; the orientation of the EXIF block is a copy that some programs leave behind wrong, and no
viewer asks it. libheif refuses by itself a picture that turns out larger than its header says.
"""

import io
import re

from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile
from pillow_heif import HeifImageFile

# An entry of the item list whose type is Exif, in either of its two versions.
_EXIF_ITEM = re.compile(rb"(infe(?:\x02...(?:..){2}|\x03...(?:....)(?:..)))Exif", re.DOTALL)


def open_heic(data: bytes) -> ImageFile:
    """Read the header only; of several pictures the main one is shown."""
    return HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]


def open_avif(data: bytes) -> ImageFile:
    """Read the header only; of a sequence the first picture is shown."""
    return AvifImageFile(io.BytesIO(_without_exif(data)))


def _without_exif(data: bytes) -> bytes:
    """Rename the EXIF item: Pillow writes it anew, and fails where it holds odd values."""
    at = 0
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"meta":
            box = data[at : at + size] if size >= 8 else data[at:]
            return data[:at] + _EXIF_ITEM.sub(rb"\1free", box) + data[at + len(box) :]
        if size < 8:  # it reaches to the end of the file, or is longer than 4 GB
            break
        at += size
    return data
