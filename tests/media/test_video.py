"""A video becomes a few evenly spaced, upright frames, or a reason why not."""

import io
import re
from fractions import Fraction
from itertools import count

import av
import numpy as np
import pytest
from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media import video
from llava_serve.media.limits import FileLimits
from llava_serve.media.video import decode_video, sample_frame_indices
from llava_serve.request import SentFile
from tests.media import filmed

LIMITS = FileLimits(file_bytes=5_000_000, pixels=1_000_000)
FILMS = [("mp4", "libx264"), ("mp4", "mpeg4"), ("webm", "libvpx-vp9"), ("webm", "libvpx")]


def drawn(index: int, size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Frame `index`: redder each time, its upper left corner white."""
    image = Image.new("RGB", size, (index * 12, 0, 0))
    image.paste((255, 255, 255), (0, 0, 16, 16))
    return image


def video_file(
    container_format: str,
    codec: str,
    frames: int = 20,
    size: tuple[int, int] = (64, 32),
    rate: Fraction = Fraction(10),
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            pixels = np.asarray(drawn(index, size))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return file.getvalue()


def animation(kind: str, frames: int = 20) -> bytes:
    file = io.BytesIO()
    first, *rest = [drawn(index) for index in range(frames)]
    first.save(file, kind, save_all=True, append_images=rest, duration=100, lossless=True)
    return file.getvalue()


def redness(data: bytes, num_frames: int) -> list[int]:
    frames = decode_video(data, num_frames, LIMITS).frames
    assert all(frame.image.mode == "RGB" for frame in frames)
    return [frame.image.getpixel((60, 30))[0] for frame in frames]  # type: ignore[index]


@pytest.mark.parametrize(("container_format", "codec"), FILMS)
def test_frames_of_a_film_are_evenly_spaced_from_first_to_last(
    container_format: str, codec: str
) -> None:
    found = redness(video_file(container_format, codec), 5)
    assert found == pytest.approx([12 * index for index in (0, 4, 9, 14, 19)], abs=8)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_frames_of_an_animation_are_evenly_spaced_from_first_to_last(kind: str) -> None:
    found = redness(animation(kind), 5)
    assert found == pytest.approx([12 * index for index in (0, 4, 9, 14, 19)], abs=8)


@pytest.mark.parametrize(
    "data", [video_file("mp4", "libx264"), animation("GIF"), animation("WEBP")]
)
def test_each_frame_has_its_time(data: bytes) -> None:
    times = [frame.time_s for frame in decode_video(data, 5, LIMITS).frames]
    assert times == pytest.approx([0.0, 0.4, 0.9, 1.4, 1.9])


def test_time_begins_with_the_first_frame() -> None:
    data = filmed.copied(video_file("mp4", "libx264"), "mp4", 0, later=lambda pts: pts + 90_000)
    assert decode_video(data, 2, LIMITS).frames[0].time_s == 0


@pytest.mark.parametrize(
    ("data", "kind"), [(video_file("webm", "libvpx"), "WEBM"), (animation("GIF"), "GIF")]
)
def test_what_was_sent_is_told(data: bytes, kind: str) -> None:
    assert decode_video(data, 2, LIMITS).sent == SentFile(kind, (64, 32), (64, 32))


@pytest.mark.parametrize("data", [video_file("mp4", "libx264", 3), animation("GIF", 3)])
def test_a_short_video_gives_each_frame_once(data: bytes) -> None:
    assert redness(data, 8) == pytest.approx([0, 12, 24], abs=8)


def test_a_still_gif_is_one_frame() -> None:
    assert len(decode_video(animation("GIF", 1), 8, LIMITS).frames) == 1


@pytest.mark.parametrize(
    ("total", "wanted", "chosen"),
    [(1, 1, [0]), (10, 1, [0]), (10, 2, [0, 9]), (9, 3, [0, 4, 8]), (3, 8, [0, 1, 2])],
)
def test_spread_includes_both_ends(total: int, wanted: int, chosen: list[int]) -> None:
    assert sample_frame_indices(total, wanted) == chosen


def test_a_film_held_sideways_is_shown_upright() -> None:
    data = bytearray(video_file("mp4", "libx264"))
    # The matrix a phone held upright writes: x' = -y, y' = x, a quarter turn clockwise.
    matrix = data.index(b"tkhd") + 4 + 40
    one, minus_one = (1 << 16).to_bytes(4, "big"), (-1 << 16).to_bytes(4, "big", signed=True)
    data[matrix : matrix + 20] = bytes(4) + one + bytes(4) + minus_one + bytes(4)
    video = decode_video(bytes(data), 1, LIMITS)
    image = video.frames[0].image
    assert image.size == (32, 64)
    assert video.sent == SentFile("MP4", (64, 32), (32, 64))
    corner = image.getpixel((28, 3))
    assert isinstance(corner, tuple)
    assert min(corner) > 200


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(video_file("mp4", "libx264")[:1500], id="mp4, cut"),
        pytest.param(b"\0\0\0\x20ftypisom" + bytes(100), id="mp4, nothing in it"),
        pytest.param(video_file("webm", "libvpx")[:200], id="webm, cut"),
        pytest.param(b"\x1a\x45\xdf\xa3" + bytes(100), id="webm, nothing in it"),
        pytest.param(animation("GIF")[:150], id="gif, cut"),
        pytest.param(animation("WEBP")[:150], id="webp, cut"),
    ],
)
def test_a_damaged_video_is_refused(data: bytes) -> None:
    with pytest.raises(MediaUnreadable):
        decode_video(data, 4, LIMITS)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_cut_animation_says_that_it_is_cut(kind: str) -> None:
    whole = animation(kind)
    refused = 0
    for kept in range(20, len(whole) - 20, 7):
        try:
            found = redness(whole[:kept], 4)
        except MediaUnreadable as exc:
            refused += 1
            assert re.search(f"{kind} file.* is damaged or cut short", str(exc))
            assert "index" not in str(exc)
        else:  # cut between two frames
            assert found == pytest.approx(
                [12 * at for at in sample_frame_indices(found[-1] // 12 + 1, 4)], abs=4
            )
    assert refused > 200


@pytest.mark.parametrize(
    ("data", "seems"),
    [
        pytest.param(b"", "nothing at all", id="empty"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "PNG", id="a still picture"),
        pytest.param(b"#EXTM3U\nfile:///etc/hostname\n", "text", id="a playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/hostname\n", "text", id="a file list"),
    ],
)
def test_what_is_no_video_is_named(data: bytes, seems: str) -> None:
    with pytest.raises(MediaUnreadable, match=seems):
        decode_video(data, 4, LIMITS)


def test_a_file_of_sound_only_says_so() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 8000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaUnreadable, match="no video"):
        decode_video(file.getvalue(), 4, LIMITS)


def test_a_film_of_too_large_frames_is_refused() -> None:
    with pytest.raises(MediaTooLarge, match="64 x 32"):
        decode_video(video_file("mp4", "libx264"), 4, FileLimits(5_000_000, pixels=1000))


def test_a_film_that_lasts_too_long_is_refused() -> None:
    data = video_file("mp4", "libx264", rate=Fraction(1, 60))
    with pytest.raises(MediaTooLarge, match="lasts 1200 s"):
        decode_video(data, 4, LIMITS)


@pytest.mark.parametrize("data", [video_file("mp4", "libx264"), animation("GIF")])
def test_decoding_that_takes_too_long_is_given_up(data: bytes) -> None:
    ticks = count(step=10)
    with pytest.raises(MediaTooLarge, match=f"longer than {video.MAX_DECODING_S:g} s"):
        decode_video(data, 4, LIMITS, clock=lambda: float(next(ticks)))


def test_a_file_beyond_the_limit_is_refused() -> None:
    with pytest.raises(MediaTooLarge, match="--max-image-mb"):
        decode_video(video_file("mp4", "libx264"), 4, FileLimits(1000, 1_000_000))
