"""Orientation: how an image or a frame is turned and mirrored to be upright, of eight ways."""

import struct
from contextlib import suppress

from av.buffer import Buffer
from av.video.frame import VideoFrame
from PIL.Image import Image, Transpose

from llava_serve.errors import MediaUnreadable

_TAG, _MAX_ENTRIES = 0x0112, 1000
_NUMBERS = {1: "B", 3: "H", 4: "I"}  # EXIF types that hold a whole number
# Source: Exif 2.32 (CIPA DC-008), 4.6.4 A, tag Orientation.
_BY_EXIF = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# The signs of a, b, c, d in x' = a x + c y, y' = b x + d y.
# Source: ISO/IEC 14496-12, 6.2.2 (transformation matrix); FFmpeg, libavutil/display.h.
_BY_MATRIX = {
    (1, 0, 0, 1): None,
    (-1, 0, 0, 1): Transpose.FLIP_LEFT_RIGHT,
    (-1, 0, 0, -1): Transpose.ROTATE_180,
    (1, 0, 0, -1): Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Transpose.TRANSPOSE,
    (0, 1, -1, 0): Transpose.ROTATE_270,
    (0, -1, -1, 0): Transpose.TRANSVERSE,
    (0, -1, 1, 0): Transpose.ROTATE_90,
}
_BY_ROTATION = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
_SWAPPING = {
    Transpose.TRANSPOSE,
    Transpose.ROTATE_90,
    Transpose.ROTATE_270,
    Transpose.TRANSVERSE,
}
_UNEVEN = 0.01  # the share by which the two scales of a matrix may differ: rounding


def turned(size: tuple[int, int], turn: Transpose | None) -> tuple[int, int]:
    """Return the (width, height) that a size has once it is turned."""
    return (size[1], size[0]) if turn in _SWAPPING else size


def of_exif(number: object) -> Transpose | None:
    """Return what an EXIF orientation asks for; an unknown one asks for nothing."""
    return _BY_EXIF.get(number) if isinstance(number, int) else None


def of_image(image: Image) -> Transpose | None:
    """Read the EXIF orientation of an opened image, and nothing else of its EXIF.

    An EXIF block that cannot be read, or a value that is none of the eight, asks for nothing, as in
    browsers. XMP is not asked.
    """
    exif = image.info.get("exif")
    if exif is None:
        exif = _raw_profile(image.info.get("Raw profile type exif"))
    return of_exif(_orientation(exif)) if isinstance(exif, bytes) else None


def of_frame(frame: VideoFrame) -> Transpose | None:
    """Read the display matrix of a video's frame.

    Raises:
        MediaUnreadable: it skews, stretches, or turns by another angle than 90, 180 or 270 degrees.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside a kind of data that PyAV has no name for
        return _BY_ROTATION.get(frame.rotation % 360)
    if not isinstance(matrix, Buffer):
        return None
    values = struct.unpack("=2i4x2i", bytes(matrix)[:20])  # a, b, c, d
    largest = max(map(abs, values))
    negligible = _UNEVEN * largest
    signs = tuple((value > negligible) - (value < -negligible) for value in values)
    scales = [abs(value) for value, sign in zip(values, signs, strict=True) if sign]
    if signs not in _BY_MATRIX or largest - min(scales) > negligible:
        shown = ", ".join(f"{value / 65536:.3g}" for value in values)
        raise MediaUnreadable(
            f"the video asks to be shown through the matrix ({shown}), which does more than turn "
            "it by quarters and mirror it"
        )
    return _BY_MATRIX[signs]


def _orientation(exif: bytes) -> int | None:
    """Find the tag among the first entries of an EXIF block."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    with suppress(struct.error):
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * min(entries, _MAX_ENTRIES), 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
            if tag == _TAG and kind in _NUMBERS and count == 1:
                number: int = struct.unpack_from(f"{order}{_NUMBERS[kind]}", tiff, entry + 8)[0]
                return number
    return None


def _raw_profile(text: object) -> bytes | None:
    """Decode the EXIF that ImageMagick writes into a PNG: a name, a length, hexadecimal digits."""
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None
