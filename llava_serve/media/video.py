"""Bytes of a video become a few evenly spaced frames, with bounded work."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.damage import DAMAGE, damaged
from llava_serve.media.decode import as_image, open_image
from llava_serve.media.limits import Cost, FileLimits, check_bytes
from llava_serve.media.sniff import VIDEOS, sniff
from llava_serve.media.video_file import VideoFile, check_count
from llava_serve.request import Image, SentFile, Video

MAX_VIDEO_PIXELS = 200_000_000  # of all chosen frames together: 0.8 GB in memory
MAX_DECODING_S = 30.0
_FRAMES_BESIDE = 4  # those a decoder leans on, and the one that is converted
_ANIMATIONS = ("GIF", "WEBP")


def decode_video(
    data: bytes, num_frames: int, limits: FileLimits, clock: Callable[[], float] = time.monotonic
) -> Video:
    """Decode `num_frames` evenly spaced frames, the first and the last among them.

    A video of fewer frames gives all it has; of a damaged or cut one, the frames that decode are
    all it has. Videos go through PyAV, GIF and WebP through Pillow.

    Raises:
        MediaUnreadable: another format, no images in it, or a damaged file.
        MediaTooLarge: beyond `limits` or one of this module's bounds.
    """
    kind = _kind(data, limits)
    deadline = clock() + MAX_DECODING_S

    def check_time() -> None:
        if clock() > deadline:
            raise MediaTooLarge(f"decoding the video takes longer than {MAX_DECODING_S:g} s")

    try:
        if kind in _ANIMATIONS:
            return _video(kind, *_animation(data, kind, num_frames, limits, check_time))
        video_file = VideoFile(data, kind, limits, check_time)
        size = video_file.size()
        return _video(kind, size, video_file.frames(partial(_chosen, size, num_frames)))
    except DAMAGE as exc:
        raise damaged(f"the {kind} file", exc) from exc


def video_cost(data: bytes, num_frames: int, limits: FileLimits) -> Cost:
    """Say from the header alone what decoding takes memory for, at most; raises the same."""
    kind = _kind(data, limits)
    try:
        if kind in _ANIMATIONS:
            with open_image(data, kind, limits) as image:
                width, height = image.size
        else:
            width, height = VideoFile(data, kind, limits, lambda: None).size()
    except DAMAGE as exc:
        raise damaged(f"the {kind} file", exc) from exc
    frame = width * height
    return Cost(frame * num_frames, frame * (num_frames + _FRAMES_BESIDE), is_slow=True)


def sample_frame_indices(total: int, wanted: int) -> list[int]:
    """Return `min(wanted, total)` indices of 0..total-1, evenly spaced, both ends included.

    Source: LLaVA-VL/LLaVA-NeXT, `process_video_with_decord`: linspace(0, total - 1, wanted).
    """
    count = min(wanted, total)
    return [at * (total - 1) // max(1, count - 1) for at in range(count)]


def _video(kind: str, size: tuple[int, int], frames: list[Image]) -> Video:
    return Video(tuple(frames), SentFile(kind, size, frames[0].image.size))


def _kind(data: bytes, limits: FileLimits) -> str:
    kind = sniff(data)
    check_bytes(len(data), limits.file_bytes)
    if kind not in (*VIDEOS, *_ANIMATIONS):
        raise MediaUnreadable(
            f"it is not a video of a known format ({', '.join(VIDEOS)}, animated GIF or WEBP); "
            f"by its content it seems to be {kind}"
        )
    return kind


def _animation(
    data: bytes, kind: str, num_frames: int, limits: FileLimits, check_time: Callable[[], None]
) -> tuple[tuple[int, int], list[Image]]:
    """Return the (width, height) of a moving image and its chosen frames."""
    with open_image(data, kind, limits) as image:
        total: int = getattr(image, "n_frames", 1)  # a GIF counts by skipping through the file
        check_time()
        check_count(total)
        wanted = _chosen(image.size, num_frames, total)
        frames = []
        time_ms = 0.0
        for index in range(wanted[-1] + 1):  # each frame builds on the one before
            image.seek(index)
            if index in wanted:
                frame = as_image(image.copy())
                time_ms = image.info.get("timestamp", time_ms)  # of a WebP, whose frames are loaded
                frames.append(replace(frame, time_s=time_ms / 1000))
            time_ms += image.info.get("duration", 0)
            check_time()
        return image.size, frames


def _chosen(size: tuple[int, int], num_frames: int, total: int) -> list[int]:
    """Choose among `total` frames of (width, height).

    Raises:
        MediaTooLarge: together they take too much memory.
    """
    wanted = sample_frame_indices(total, num_frames)
    pixels = size[0] * size[1] * len(wanted)
    if pixels > MAX_VIDEO_PIXELS:
        raise MediaTooLarge(
            f"{len(wanted)} frames of {size[0]} x {size[1]} pixels are {pixels / 1e6:.0f} "
            f"megapixels; at most {MAX_VIDEO_PIXELS / 1e6:g} are accepted: ask for fewer frames "
            "(num_frames)"
        )
    return wanted
