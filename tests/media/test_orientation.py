"""The orientation of an image is applied, whatever else its EXIF block holds."""

import random
import struct
from typing import Any

import pytest

from llava_serve.media.decode import decode_image
from llava_serve.request import SentFile
from tests.media.drawn import CORNERS, LIMITS, corner_marked, encoded, exif_with, red_corner

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of odd EXIF, which it skips
ODD = {
    "a signed width": (0x0100, 9, 1, struct.pack("<i", -5)),
    "a NaN": (0x829A, 11, 1, struct.pack("<f", float("nan"))),
    "a string for a number": (0x0101, 2, 4, b"abc\0"),
    "a rational out of the file": (0x011A, 5, 1, struct.pack("<I", 90_000)),
    "an unknown type": (0x0131, 99, 1, bytes(4)),
    "too many values": (0x010F, 3, 0xFFFFFFFF, bytes(4)),
    "a directory that is none": (0x8769, 4, 1, struct.pack("<I", 0)),
    "GPS that is a word": (0x8825, 2, 4, b"abc\0"),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_eight_orientations_are_applied(kind: str, orientation: int, order: str) -> None:
    data = encoded(corner_marked(), kind, exif=exif_with(orientation, order=order))
    decoded = decode_image(data, LIMITS)
    image, upright = decoded.image, (20, 40) if orientation > 4 else (40, 20)
    assert image.size == upright
    assert red_corner(image) == CORNERS[orientation]
    assert decoded.sent == SentFile(kind, (40, 20), upright)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_value_beside_the_orientation_does_no_harm(kind: str, odd: str) -> None:
    data = encoded(corner_marked(), kind, exif=exif_with(6, ODD[odd]))
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[6]


def test_a_rational_with_a_zero_below_does_no_harm() -> None:
    entry = (0x011A, 10, 1, struct.pack("<I", 8 + 2 + 2 * 12 + 4))
    exif = exif_with(6, entry) + struct.pack("<ii", -1, 0)
    image = decode_image(encoded(corner_marked(), "JPEG", exif=exif), LIMITS).image
    assert red_corner(image) == CORNERS[6]


@pytest.mark.parametrize("orientation", [0, 9, 0xFFFF])
def test_an_orientation_that_is_none_of_the_eight_is_passed_over(orientation: int) -> None:
    data = encoded(corner_marked(), "JPEG", exif=exif_with(orientation))
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[1]


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(b"Exif\0\0", id="nothing in it"),
        pytest.param(b"Exif\0\0XX*\0", id="no byte order"),
        pytest.param(b"Exif\0\0II*\0\xff\xff\xff\xff", id="a directory beyond the end"),
        pytest.param(exif_with(6)[:-12], id="cut"),
    ],
)
def test_an_exif_block_that_cannot_be_read_is_passed_over(exif: bytes) -> None:
    data = encoded(corner_marked(), "JPEG", exif=exif)
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[1]


def test_random_exif_never_makes_a_good_picture_unreadable() -> None:
    rng = random.Random(0)
    for _ in range(300):
        block = bytearray(exif_with(6, *rng.sample(list(ODD.values()), 4)))
        for _ in range(rng.randint(1, 8)):
            block[rng.randrange(6, len(block))] = rng.randrange(256)
        data = encoded(corner_marked(), "JPEG", exif=bytes(block))
        assert red_corner(decode_image(data, LIMITS).image) in CORNERS.values()


def test_the_exif_that_imagemagick_writes_into_a_png_is_read() -> None:
    from PIL.PngImagePlugin import PngInfo

    info: Any = PngInfo()
    block = exif_with(6).hex()
    info.add_text("Raw profile type exif", f"\nexif\n{len(block) // 2:8}\n{block}\n", zip=True)
    data = encoded(corner_marked(), "PNG", pnginfo=info)
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[6]
