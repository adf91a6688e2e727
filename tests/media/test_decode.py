"""Every kind of image file becomes the RGB image a person would see, or a reason why not."""

import random
import struct
import zlib

import pytest
from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.decode import decode_image
from llava_serve.media.sniff import IMAGES
from tests.media.drawn import BLUE, LIMITS, RED, WHITE, close, corner_marked, encoded


def pixel(data: bytes, at: tuple[int, int] = (2, 2)) -> tuple[int, ...]:
    found = decode_image(data, LIMITS).image.getpixel(at)
    assert isinstance(found, tuple)
    return found


@pytest.mark.parametrize("kind", IMAGES)
def test_every_accepted_format_keeps_size_and_colour(kind: str) -> None:
    picture = decode_image(encoded(corner_marked(), kind), LIMITS)
    assert (picture.image.mode, picture.image.size) == ("RGB", (40, 20))
    assert close(pixel(encoded(corner_marked(), kind)), RED, 60)


def test_equal_pixels_have_equal_digests_whatever_the_file() -> None:
    png, bmp = encoded(corner_marked()), encoded(corner_marked(), "BMP")
    assert decode_image(png, LIMITS).sha256 == decode_image(bmp, LIMITS).sha256


def test_the_same_pixels_in_another_shape_have_another_digest() -> None:
    wide, tall = Image.new("RGB", (8, 2)), Image.new("RGB", (2, 8))
    digests = {decode_image(encoded(image), LIMITS).sha256 for image in (wide, tall)}
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.new("RGBA", (9, 9), (255, 0, 0, 0)), WHITE, id="transparent is white"),
        pytest.param(
            Image.new("RGBA", (9, 9), (255, 0, 0, 128)), (255, 127, 127), id="half transparent"
        ),
        pytest.param(Image.new("LA", (9, 9), (0, 0)), WHITE, id="transparent grey"),
        pytest.param(Image.new("L", (9, 9), 77), (77, 77, 77), id="grey"),
        pytest.param(Image.new("1", (9, 9), 1), WHITE, id="one bit, white"),
        pytest.param(Image.new("1", (9, 9), 0), (0, 0, 0), id="one bit, black"),
        pytest.param(Image.new("I;16", (9, 9), 128 * 256), (128, 128, 128), id="16-bit grey"),
        pytest.param(Image.new("RGB", (9, 9), RED).quantize(4), RED, id="palette"),
    ],
)
def test_a_mode_becomes_what_a_person_sees(
    image: Image.Image, expected: tuple[int, int, int]
) -> None:
    assert close(pixel(encoded(image)), expected, 1)


def test_a_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (9, 9), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    assert pixel(encoded(image, transparency=0)) == WHITE


def test_a_colour_declared_transparent_is_white() -> None:
    assert pixel(encoded(Image.new("RGB", (9, 9), RED), transparency=RED)) == WHITE


def test_cmyk_has_its_colours() -> None:
    cmyk = Image.new("RGB", (16, 16), BLUE).convert("CMYK")
    assert close(pixel(encoded(cmyk, "JPEG")), BLUE)


def test_16_bits_per_channel_keep_the_upper_8() -> None:
    row = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0) * 2
    assert pixel(png_of(2, 2, 16, 2, row * 2), (0, 0)) == (255, 128, 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_shows_its_first_frame(kind: str) -> None:
    first, second = Image.new("RGB", (9, 9), RED), Image.new("RGB", (9, 9), BLUE)
    data = encoded(first, kind, save_all=True, append_images=[second], lossless=True)
    assert close(pixel(data), RED, 4)


def png_of(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        pytest.param(30_000, 30_000, "900000000 pixels", id="beyond Pillow's bound"),
        pytest.param(12_000, 12_000, "144000000 pixels", id="beyond Pillow's warning"),
        pytest.param(1_001, 1_000, "1001 x 1000", id="beyond the flag"),
        pytest.param(25_000, 1, "at most 20000", id="a side too long"),
        pytest.param(4_000, 1, "at most 100 times", id="too thin"),
        pytest.param(1, 4_000, "at most 100 times", id="too narrow"),
    ],
)
def test_a_size_is_refused_before_a_pixel_is_decoded(width: int, height: int, words: str) -> None:
    no_pixels = png_of(width, height, 8, 2, b"")
    with pytest.raises(MediaTooLarge, match=words):
        decode_image(no_pixels, LIMITS)


@pytest.mark.parametrize("size", [(1, 1), (100, 1), (1000, 1000)])
def test_a_size_within_the_limits_is_accepted(size: tuple[int, int]) -> None:
    assert decode_image(encoded(Image.new("RGB", size)), LIMITS).image.size == size


def test_a_file_beyond_the_limit_is_refused_with_both_numbers() -> None:
    with pytest.raises(MediaTooLarge, match=r"1\.5 MB; at most 1 MB"):
        decode_image(bytes(1_500_000), LIMITS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_a_cut_file_is_refused(kind: str, kept: float) -> None:
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    data = encoded(noise, kind)
    with pytest.raises(MediaUnreadable, match="damaged or cut short"):
        decode_image(data[: int(len(data) * kept)], LIMITS)


@pytest.mark.parametrize(
    ("data", "seems"),
    [
        pytest.param(b"", "nothing at all", id="empty"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", id="SVG"),
        pytest.param(b"<?xml version='1.0'?>\n<svg/>", "SVG", id="SVG with a prolog"),
        pytest.param(b"<!DOCTYPE html><title>404</title>", "HTML", id="HTML"),
        pytest.param(b"%PDF-1.7", "PDF", id="PDF"),
        pytest.param(b"just words", "text", id="text"),
        pytest.param(b"\xff\x0a\0\0", "JPEG XL", id="JPEG XL"),
        pytest.param(b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", id="JPEG 2000"),
        pytest.param(b"\0\0\0\x14ftypisom", "MP4", id="a video"),
        pytest.param(b"\0\1\2\3", "00 01 02 03", id="unknown"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, seems: str) -> None:
    with pytest.raises(MediaUnreadable, match=seems):
        decode_image(data, LIMITS)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of a damaged EXIF block, which it skips
@pytest.mark.parametrize("kind", IMAGES)
def test_damage_anywhere_is_an_answer_and_not_a_crash(kind: str) -> None:
    rng = random.Random(kind)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind in ("GIF", "BMP", "TIFF") else {"exif": exif}
    whole = encoded(Image.effect_noise((24, 24), 60).convert("RGB"), kind, **options)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(8, len(data))] = rng.randrange(256)
        try:
            picture = decode_image(bytes(data), LIMITS)
        except (MediaUnreadable, MediaTooLarge):
            continue
        assert picture.image.mode == "RGB"
