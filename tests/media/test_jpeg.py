"""A JPEG file is whole when no part of its picture is missing, whatever became of its end."""

import pytest
from PIL import Image

from llava_serve.errors import MediaUnreadable
from llava_serve.media.decode import decode_image, reduction
from llava_serve.media.limits import Limits
from tests.media.drawn import LIMITS, RED, close, encoded

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
    image = decode_image(data, Limits(file_bytes=30_000_000, pixels=10_000_000)).image
    assert image.size == (3001, 502)
    red = (76, 76, 76) if mode == "L" else RED
    assert close(image.getpixel((1480, 240)), red)
    assert close(image.getpixel((1520, 240)), (255, 255, 255))
    assert close(image.getpixel((1480, 260)), (255, 255, 255))
