"""HEIC and AVIF files show what viewers show, and are as large as their AV1 headers say."""

import io
import struct

import pytest
from PIL import Image
from pillow_heif import from_pillow

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.decode import decode_image
from llava_serve.media.heif import coded_sizes
from llava_serve.media.limits import FileLimits
from llava_serve.media.video import decode_video
from tests.media.drawn import (
    BLUE,
    CORNERS,
    LIMITS,
    RED,
    WHITE,
    close,
    corner_marked,
    encoded,
    exif_with,
    red_corner,
)
from tests.media.filmed import video_file

BOTH = pytest.mark.parametrize("kind", ["HEIC", "AVIF"])


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Let the header announce another size."""
    changed, at = bytearray(data), data.find(b"ispe")
    while at >= 0:
        changed[at + 8 : at + 16] = struct.pack(">II", width, height)
        at = data.find(b"ispe", at + 4)
    return bytes(changed)


@BOTH
@pytest.mark.parametrize("orientation", CORNERS)
def test_the_container_says_how_a_picture_is_turned(kind: str, orientation: int) -> None:
    exif = exif_with(orientation)
    image = decode_image(encoded(corner_marked(), kind, exif=exif), LIMITS).image
    assert red_corner(image) == CORNERS[orientation]


@BOTH
def test_odd_exif_does_no_harm(kind: str) -> None:
    data = encoded(corner_marked(), kind, exif=exif_with(6, (0x0100, 4, 1, bytes(4))))
    for order in "<>":
        width, odd = (struct.pack(f"{order}HHI", 0x0100, kind, 1) for kind in (4, 9))
        while (at := data.find(width)) >= 0:
            data = data[:at] + odd + struct.pack(f"{order}i", -5) + data[at + 12 :]
    assert struct.pack("<i", -5) in data or struct.pack(">i", -5) in data
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[6]


@BOTH
@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), WHITE, id="transparent"),
        pytest.param(Image.new("L", (64, 64), 77), (77, 77, 77), id="grey"),
        pytest.param(Image.new("RGB", (64, 64), BLUE), BLUE, id="colour"),
    ],
)
def test_a_mode_becomes_what_a_person_sees(
    kind: str, image: Image.Image, expected: tuple[int, int, int]
) -> None:
    found = decode_image(encoded(image, kind), LIMITS).image
    assert (found.mode, found.size) == ("RGB", (64, 64))
    assert close(found.getpixel((9, 9)), expected, 4)


@pytest.mark.parametrize("brand", [b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"])
def test_every_brand_of_heic_is_read(brand: bytes) -> None:
    data = encoded(corner_marked(), "HEIC")
    data = data[:8] + brand + data[12:]
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[1]


@pytest.mark.parametrize("brand", [b"mif1", b"msf1"])
def test_every_brand_of_avif_is_read(brand: bytes) -> None:
    data = encoded(corner_marked(), "AVIF")
    data = data[:8] + brand + data[12:]
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[1]


def test_of_a_sequence_the_first_picture_is_shown() -> None:
    second = Image.new("RGB", (40, 20), BLUE)
    data = encoded(corner_marked(), "AVIF", save_all=True, append_images=[second])
    assert data[8:12] == b"avis"
    assert red_corner(decode_image(data, LIMITS).image) == CORNERS[1]


def test_of_several_pictures_the_main_one_is_shown() -> None:
    file = io.BytesIO()
    several = from_pillow(Image.new("RGB", (64, 64), BLUE))
    several.add_from_pillow(Image.new("RGB", (64, 64), RED))
    several.save(file, quality=100, primary_index=1)
    assert close(decode_image(file.getvalue(), LIMITS).image.getpixel((9, 9)), RED, 8)


@BOTH
def test_a_size_is_refused_before_a_pixel_is_decoded(kind: str) -> None:
    data = encoded(Image.new("RGB", (200, 100)), kind)
    with pytest.raises(MediaTooLarge, match="200 x 100"):
        decode_image(data, FileLimits(file_bytes=1_000_000, pixels=19_999))
    with pytest.raises(MediaTooLarge, match="9000 x 9000"):
        decode_image(with_size(data, 9000, 9000), LIMITS)


def test_a_heic_picture_larger_than_its_header_says_is_not_decoded() -> None:
    data = with_size(encoded(Image.new("RGB", (2000, 2000)), "HEIC"), 64, 64)
    with pytest.raises(MediaUnreadable, match="exceeds"):
        decode_image(data, LIMITS)


@BOTH
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_a_cut_file_is_refused(kind: str, kept: float) -> None:
    data = encoded(Image.effect_noise((64, 64), 60).convert("RGB"), kind)
    with pytest.raises(MediaUnreadable, match="damaged or cut short"):
        decode_image(data[: int(len(data) * kept)], LIMITS)


@pytest.mark.parametrize("size", [(1, 1), (40, 20), (999, 65), (64, 2000)])
def test_the_coded_size_is_that_of_the_picture(size: tuple[int, int]) -> None:
    assert coded_sizes(encoded(Image.new("RGB", size), "AVIF")) == [size]


def test_transparency_and_sequences_are_looked_at_too() -> None:
    assert coded_sizes(encoded(Image.new("RGBA", (40, 20)), "AVIF")) == [(40, 20)] * 2
    moving = encoded(
        Image.new("RGB", (40, 20)),
        "AVIF",
        save_all=True,
        append_images=[Image.new("RGB", (40, 20), "red")],
    )
    assert set(coded_sizes(moving)) == {(40, 20)}


@pytest.mark.parametrize("data", [b"", bytes(100), b"\0\0\0\x18ftypavif" + bytes(100)])
def test_what_is_no_avif_has_no_size(data: bytes) -> None:
    assert coded_sizes(data) == []


def test_a_picture_larger_than_its_header_says_is_not_decoded() -> None:
    data = with_size(encoded(Image.new("RGB", (1200, 1000)), "AVIF"), 64, 64)
    with pytest.raises(MediaTooLarge, match="1200 x 1000"):
        decode_image(data, LIMITS)


def test_a_film_larger_than_its_header_says_is_not_decoded() -> None:
    data = video_file(codec="libsvtav1", frames=3, size=(1600, 1400))
    at = data.index(b"av01", data.index(b"stsd")) + 28
    lying = data[:at] + struct.pack(">HH", 64, 64) + data[at + 4 :]
    with pytest.raises((MediaUnreadable, MediaTooLarge)):
        decode_video(lying, 1, LIMITS)
    assert len(decode_video(data, 3, FileLimits(5_000_000, 3_000_000)).frames) == 3


def test_a_sequence_whose_clock_stands_still_is_damaged() -> None:
    moving = encoded(
        Image.new("RGB", (40, 20)),
        "AVIF",
        save_all=True,
        append_images=[Image.new("RGB", (40, 20), "red")],
    )
    time_scale = moving.index(b"mdhd") + 4 + 4 + 8 + 8  # behind version, flags and two dates
    assert moving[time_scale : time_scale + 4] == (1000).to_bytes(4, "big")
    without = moving[:time_scale] + bytes(4) + moving[time_scale + 4 :]
    assert coded_sizes(without) == [(40, 20)] * 2
    with pytest.raises(MediaUnreadable, match="damaged"):
        decode_image(without, LIMITS)
