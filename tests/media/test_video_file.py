"""Frames are chosen among those that decode, and shown as the video asks, or a reason is given."""

import struct
from collections.abc import Iterable

import pytest

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.limits import FileLimits
from llava_serve.media.video import decode_video, sample_frame_indices
from tests.media.drawn import CORNERS, WHITE, close, exif_with
from tests.media.filmed import (
    CLOSED_GROUPS,
    OPEN_GROUPS,
    STEP,
    copied,
    damaged,
    of_jpegs,
    video_file,
    with_attachment,
    with_cover,
    with_matrix,
)

LIMITS = FileLimits(file_bytes=5_000_000, pixels=1_000_000)


def seen(data: bytes, num_frames: int = 5) -> list[float]:
    """Return the number of each frame, told from its colour; its corner must be white."""
    images = [frame.image for frame in decode_video(data, num_frames, LIMITS).frames]
    assert all(close(image.getpixel((4, 4)), WHITE, 35) for image in images)
    return [image.getpixel((60, 30))[0] / STEP for image in images]  # type: ignore[index]


def about(numbers: Iterable[int]) -> list[float]:
    return [pytest.approx(number, abs=1.5) for number in numbers]  # type: ignore[misc]


def spread_from(first: int, wanted: int = 5, frames: int = 40) -> list[float]:
    return about([first + at for at in sample_frame_indices(frames - first, wanted)])


@pytest.mark.parametrize("container_format", ["mp4", "mov", "matroska"])
@pytest.mark.parametrize(("dropped", "first"), [(0, 0), (1, 12), (5, 12), (12, 24), (20, 24)])
def test_a_film_cut_out_of_open_groups_begins_where_it_can(
    container_format: str, dropped: int, first: int
) -> None:
    data = copied(video_file(options=OPEN_GROUPS), container_format, dropped)
    assert seen(data) == spread_from(first)


@pytest.mark.parametrize("dropped", [1, 14])
@pytest.mark.parametrize(
    ("container_format", "codec"),
    [
        ("mp4", "libx264"),
        ("mp4", "mpeg4"),
        ("avi", "mpeg4"),
        ("matroska", "mpeg2video"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
    ],
)
def test_frames_before_the_first_key_frame_are_left_out(
    container_format: str, codec: str, dropped: int
) -> None:
    data = copied(
        video_file(container_format, codec, options={"g": "12"}), container_format, dropped
    )
    found = seen(data, 40)  # a frame without what it leans on has a grey corner
    assert found == sorted(found)
    assert found[0] >= dropped - 1.5
    assert found[-1] == pytest.approx(39, abs=1.5)


def test_a_film_refreshed_without_key_frames_begins_where_it_is_whole() -> None:
    options = {"x264-params": "intra-refresh=1:keyint=10:bframes=0"}
    found = seen(copied(video_file(options=options), "mp4", 3))
    assert 5 < found[0] < 20
    assert found[-1] == pytest.approx(39, abs=1.5)


@pytest.mark.parametrize("container_format", ["mp4", "matroska"])
def test_what_is_damaged_in_the_middle_is_left_out(container_format: str) -> None:
    data = video_file(container_format, options=CLOSED_GROUPS)
    found = seen(damaged(data, range(14, 24)), 40)
    assert found == about([*range(14), *range(24, 40)])


def test_a_film_of_which_no_frame_decodes_says_so() -> None:
    data = video_file("matroska", "mpeg2video")
    with pytest.raises(MediaUnreadable, match="none of the video's 40 frames"):
        seen(damaged(data, range(40)))


@pytest.mark.parametrize("kept", [0.5, 0.8])
@pytest.mark.parametrize(
    ("container_format", "codec"), [("matroska", "libx264"), ("webm", "libvpx")]
)
def test_a_download_that_was_broken_off_shows_what_it_has(
    container_format: str, codec: str, kept: float
) -> None:
    data = video_file(container_format, codec)
    found = seen(data[: int(len(data) * kept)])
    assert found[0] == pytest.approx(0, abs=1.5)
    assert 5 < found[-1] < 39


def test_a_broken_off_mp4_whose_index_comes_in_parts_shows_what_it_has() -> None:
    data = video_file(options=CLOSED_GROUPS, movflags="frag_keyframe+empty_moov")
    found = seen(data[: int(len(data) * 0.9)])
    assert found[0] == pytest.approx(0, abs=1.5)
    assert 5 < found[-1] < 39


@pytest.mark.parametrize("container_format", ["mp4", "mov"])
def test_an_edited_film_begins_at_its_cut(container_format: str) -> None:
    whole = video_file(options=CLOSED_GROUPS)
    data = copied(whole, container_format, 0, later=lambda pts: pts - 5 * 1024)
    assert data.count(b"elst") == 1
    assert seen(data) == spread_from(5)


def test_an_index_that_names_the_wrong_key_frames_is_not_believed() -> None:
    data = video_file(options=CLOSED_GROUPS)
    at = data.index(b"stss") + 12  # numbers of the key frames
    assert struct.unpack_from(">I", data, at) == (1,)
    lying = data[:at] + struct.pack(">I", 2) + data[at + 4 :]
    assert seen(lying) == seen(data) == spread_from(0)


def test_an_index_that_points_out_of_the_file_leaves_the_rest() -> None:
    data = video_file(options=CLOSED_GROUPS)
    at = data.index(b"stsz") + 16 + 4 * 30  # the size of packet 30
    lying = data[:at] + struct.pack(">I", 0x7FFFFFF) + data[at + 4 :]
    found = seen(lying)
    assert found[0] == pytest.approx(0, abs=1.5)
    assert found[-1] == pytest.approx(29, abs=1.5)


@pytest.mark.parametrize("box", [b"mvhd", b"tkhd", b"mdhd"])
def test_a_header_that_lies_about_the_duration_is_not_believed(box: bytes) -> None:
    data = video_file()
    at = data.index(box) + {b"mvhd": 20, b"tkhd": 24, b"mdhd": 20}[box]
    assert 0 < struct.unpack_from(">I", data, at)[0] < 100_000
    lying = data[:at] + struct.pack(">I", 0x7FFFFFF0) + data[at + 4 :]
    assert seen(lying) == spread_from(0)


def test_a_film_larger_than_its_header_says_is_not_decoded() -> None:
    data = video_file(size=(640, 320), frames=3)
    with pytest.raises((MediaUnreadable, MediaTooLarge)):
        decode_video(with_size(data, 64, 32), 3, FileLimits(5_000_000, pixels=64 * 32))


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Let the sample description of an MP4 file announce another size."""
    at = data.index(b"avc1", data.index(b"stsd")) + 28
    return data[:at] + struct.pack(">HH", width, height) + data[at + 4 :]


@pytest.mark.parametrize("codec", ["mjpeg", "png"])
def test_a_cover_picture_before_the_film_is_not_the_film(codec: str) -> None:
    found = seen(with_cover(codec, "mp4", with_film=True))
    assert found == about(sample_frame_indices(20, 5))


@pytest.mark.parametrize("codec", ["mjpeg", "png"])
def test_sound_with_a_cover_picture_is_no_film(codec: str) -> None:
    with pytest.raises(MediaUnreadable, match="only sound and a cover picture"):
        decode_video(with_cover(codec, "mp4", with_film=False), 4, LIMITS)


def test_a_picture_attached_to_an_mkv_file_is_not_the_film() -> None:
    assert seen(with_attachment()) == spread_from(0)


MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("container_format", ["mp4", "mov"])
def test_all_eight_ways_a_camera_is_held_are_shown_upright(
    orientation: int, container_format: str
) -> None:
    data = with_matrix(video_file(container_format, frames=2), MATRICES[orientation])
    image = decode_video(data, 1, LIMITS).frames[0].image
    assert image.size == ((32, 64) if orientation > 4 else (64, 32))
    x, y = (4 if edge == 0 else -5 for edge in CORNERS[orientation])
    corner = image.getpixel((x % image.width, y % image.height))
    assert isinstance(corner, tuple)
    assert min(corner) > 200


def test_frames_with_data_that_pyav_cannot_name_are_turned_too() -> None:
    image = decode_video(of_jpegs(exif_with(6)), 1, LIMITS).frames[0].image
    assert image.size == (32, 64)
    assert close(image.getpixel((27, 4)), WHITE, 35)


def test_a_matrix_that_scales_both_sides_alike_only_turns() -> None:
    data = with_matrix(video_file(frames=2), (0, 0.5, -0.5, 0))
    assert decode_video(data, 1, LIMITS).frames[0].image.size == (32, 64)


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param((0.707, 0.707, -0.707, 0.707), id="an eighth of a turn"),
        pytest.param((1, 0, 0.3, 1), id="skewed"),
        pytest.param((1, 0, 0, 0.5), id="stretched"),
        pytest.param((1, 0, 0, 0), id="flat"),
    ],
)
def test_a_film_shown_in_another_way_is_refused_with_the_reason(
    matrix: tuple[float, float, float, float],
) -> None:
    data = with_matrix(video_file(frames=2), matrix)
    with pytest.raises(MediaUnreadable, match=f"matrix \\({matrix[0]:g}"):
        decode_video(data, 1, LIMITS)
