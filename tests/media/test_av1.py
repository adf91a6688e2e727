"""AV1's own header says how large a picture is, so an AVIF file that announces another is found."""

import struct

import pytest
from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.av1 import coded_sizes
from llava_serve.media.decode import decode_image
from llava_serve.media.limits import Limits
from llava_serve.media.video import decode_video
from tests.media.drawn import LIMITS, encoded
from tests.media.filmed import video_file
from tests.media.test_heif import with_size


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
    assert len(decode_video(data, 3, Limits(5_000_000, 3_000_000)).frames) == 3
