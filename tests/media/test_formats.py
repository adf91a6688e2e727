"""JPEG files that lack an end, and TIFF files of every layout, decode to what they show."""

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.decode import decode_image, reduction
from llava_serve.media.limits import FileLimits
from llava_serve.request import SentFile
from tests.media.drawn import (
    BLACK,
    BLUE,
    CORNERS,
    LIMITS,
    RED,
    WHITE,
    close,
    corner_marked,
    encoded,
    red_corner,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged directories
ORIENTATION = 0x0112
FLAG = Image.new("RGB", (16, 16), BLUE)


def written(width: int, height: int, given: Mapping[int, tuple[int, ...]], pixels: bytes) -> bytes:
    """A file of one strip, with SHORT and LONG values only, for what Pillow never writes."""
    tags = {256: (width,), 257: (height,), 259: (1,), 277: (1,), 278: (height,), **given}
    tags |= {273: (8,), 279: (len(pixels),)}
    entries, extra = b"", b""
    at = 8 + len(pixels)
    beyond = at + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        kind, code = (4, "I") if tag in (273, 279) else (3, "H")
        value = struct.pack(f"<{len(values)}{code}", *values)
        if len(value) > 4:
            value, extra = struct.pack("<I", beyond + len(extra)), extra + value
        entries += struct.pack("<HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + bytes(4) + extra
    return b"II*\0" + struct.pack("<I", at) + pixels + directory


GREY_16 = np.full((16, 16), 200 << 8, np.uint16)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encoded(FLAG, "TIFF"), BLUE, id="RGB"),
        pytest.param(encoded(FLAG.convert("CMYK"), "TIFF"), BLUE, id="CMYK"),
        pytest.param(encoded(FLAG.quantize(4), "TIFF"), BLUE, id="palette"),
        pytest.param(encoded(FLAG, "TIFF", compression="tiff_lzw"), BLUE, id="LZW"),
        pytest.param(encoded(FLAG, "TIFF", compression="tiff_deflate"), BLUE, id="deflate"),
        pytest.param(encoded(FLAG, "TIFF", compression="jpeg", quality=95), BLUE, id="JPEG"),
        pytest.param(encoded(Image.new("1", (16, 16), 1), "TIFF"), WHITE, id="one bit"),
        pytest.param(
            encoded(Image.new("1", (16, 16), 0), "TIFF", compression="group4"), BLACK, id="fax"
        ),
        pytest.param(encoded(Image.new("RGBA", (9, 9)), "TIFF"), WHITE, id="transparent"),
        pytest.param(encoded(Image.fromarray(GREY_16), "TIFF"), (200, 200, 200), id="16-bit grey"),
        pytest.param(
            encoded(Image.frombytes("I;16B", (16, 16), GREY_16.astype(">u2").tobytes()), "TIFF"),
            (200, 200, 200),
            id="16-bit grey, big-endian",
        ),
        pytest.param(
            written(2, 2, {258: (16,), 262: (0,)}, struct.pack("<4H", *[200 << 8] * 4)),
            (55, 55, 55),
            id="16-bit grey, zero is white",
        ),
        pytest.param(
            written(
                2,
                2,
                {258: (16, 16, 16), 262: (2,), 277: (3,)},
                struct.pack("<3H", 0xFFFF, 0x8000, 0) * 4,
            ),
            (255, 128, 0),
            id="16 bits per channel",
        ),
        pytest.param(
            written(2, 2, {258: (8, 8, 8), 262: (8,), 277: (3,)}, bytes((255, 0, 0)) * 4),
            WHITE,
            id="Lab",
        ),
    ],
)
def test_a_layout_becomes_what_a_person_sees(data: bytes, expected: tuple[int, int, int]) -> None:
    image = decode_image(data, LIMITS).image
    assert image.mode == "RGB"
    assert close(image.getpixel((1, 1)), expected)


def test_of_several_pages_the_first_is_shown() -> None:
    second = Image.new("RGB", (8, 8), RED)
    data = encoded(FLAG, "TIFF", save_all=True, append_images=[second])
    assert close(decode_image(data, LIMITS).image.getpixel((1, 1)), BLUE)


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_all_eight_orientations_are_applied(orientation: int, compression: str | None) -> None:
    options: dict[str, Any] = {"tiffinfo": {ORIENTATION: orientation}, "compression": compression}
    image = decode_image(encoded(corner_marked(), "TIFF", **options), LIMITS).image
    assert image.size == ((20, 40) if orientation > 4 else (40, 20))
    assert red_corner(image) == CORNERS[orientation]


@pytest.mark.parametrize(("mode", "words"), [("F", "floating-point"), ("I", "32-bit")])
def test_samples_of_no_range_are_refused_with_the_reason(mode: str, words: str) -> None:
    with pytest.raises(MediaUnreadable, match=words):
        decode_image(encoded(Image.new(mode, (9, 9)), "TIFF"), LIMITS)


def test_a_layout_that_is_not_read_is_refused() -> None:
    data = written(2, 2, {258: (7,), 262: (1,)}, bytes(4))
    with pytest.raises(MediaUnreadable, match="TIFF file's header"):
        decode_image(data, LIMITS)


def test_a_size_is_refused_before_a_pixel_is_decoded() -> None:
    with pytest.raises(MediaTooLarge, match="2000 x 1000"):
        decode_image(written(2000, 1000, {258: (8,), 262: (1,)}, b""), LIMITS)


def test_tiles_larger_than_a_picture_may_be_are_refused() -> None:
    tiles = {258: (8,), 262: (1,), 322: (20_000,), 323: (20_000,), 324: (8,), 325: (4,)}
    with pytest.raises(MediaTooLarge, match="20000 x 20000"):
        decode_image(written(16, 16, tiles, bytes(4)), LIMITS)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_a_cut_file_is_refused(kept: float, compression: str | None) -> None:
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "TIFF", compression=compression)
    data = file.getvalue()
    with pytest.raises(MediaUnreadable, match="damaged or cut short"):
        decode_image(data[: int(len(data) * kept)], LIMITS)


NOISE = Image.effect_noise((99, 61), 60).convert("RGB")
FORMS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": 0, "quality": 95},
        {"restart_marker_blocks": 3},
        {"optimize": True, "quality": 30},
    ],
    ids=["baseline", "progressive", "fine", "with restarts", "optimised"],
)


@FORMS
@pytest.mark.parametrize("lost", [1, 2])
def test_a_file_without_its_end_marker_is_the_same_picture(
    options: dict[str, int], lost: int
) -> None:
    data = encoded(NOISE, "JPEG", **options)
    assert data.endswith(b"\xff\xd9")
    whole, cut = decode_image(data, LIMITS), decode_image(data[:-lost], LIMITS)
    assert whole.sha256 == cut.sha256


@FORMS
@pytest.mark.parametrize("lost", [4, 5, 6, 8, 20, 200, 1000])
def test_a_file_that_lacks_a_part_of_its_picture_is_refused(
    options: dict[str, int], lost: int
) -> None:
    data = encoded(NOISE, "JPEG", **options)
    whole = decode_image(data, LIMITS)
    try:
        found = decode_image(data[:-lost], LIMITS)
    except MediaUnreadable as exc:
        assert "damaged or cut short" in str(exc)
    else:  # what was lost were the last bits of padding
        assert lost < 5
        assert found.sha256 == whole.sha256


def test_a_file_of_more_scans_than_any_encoder_writes_is_refused() -> None:
    data = encoded(NOISE, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    assert decode_image(data[:-2] + scan * 80 + data[-2:], LIMITS).image.size == NOISE.size
    with pytest.raises(MediaUnreadable, match="at most 100"):
        decode_image(data[:-2] + scan * 100 + data[-2:], LIMITS)


@pytest.mark.parametrize(
    ("size", "factor"),
    [
        ((4032, 3024), 1),  # what phones take
        ((5999, 5999), 1),
        ((20_000, 999), 1),
        ((7000, 7000), 2),
        ((8064, 6048), 2),
        ((20_000, 2500), 4),
        ((24_000, 24_000), 8),
    ],
)
def test_only_a_huge_picture_is_reduced(size: tuple[int, int], factor: int) -> None:
    assert reduction(size) == reduction(size[::-1]) == factor


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[("JPEG", mode) for mode in ("RGB", "L", "CMYK")],
        *[("PNG", mode) for mode in ("RGB", "L", "P", "RGBA")],
        *[("TIFF", mode) for mode in ("RGB", "L", "P", "RGBA", "CMYK")],
    ],
)
def test_a_reduced_picture_shows_the_same(kind: str, mode: str) -> None:
    drawn = Image.new("RGB", (6001, 1003), "white")
    drawn.paste(RED, (0, 0, 3000, 500))
    data = encoded(drawn.convert(mode), kind)
    decoded = decode_image(data, FileLimits(file_bytes=30_000_000, pixels=10_000_000))
    image = decoded.image
    assert image.size == (3001, 502)
    assert decoded.sent == SentFile(kind, drawn.size, drawn.size)
    red = (76, 76, 76) if mode == "L" else RED
    assert close(image.getpixel((1480, 240)), red)
    assert close(image.getpixel((1520, 240)), (255, 255, 255))
    assert close(image.getpixel((1480, 260)), (255, 255, 255))
