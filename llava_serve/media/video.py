"""Bytes of a video become a few evenly spaced frames, with bounded work."""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.base import Clip, Picture
from llava_serve.media.damage import DAMAGE
from llava_serve.media.decode import as_picture, open_image
from llava_serve.media.limits import Limits, check_bytes, check_size
from llava_serve.media.sniff import VIDEOS, sniff

MAX_DURATION_S = 600
MAX_SOURCE_FRAMES = 20_000  # frames of the file; all up to the last wanted one are decoded
MAX_CLIP_PIXELS = 200_000_000  # of all chosen frames together: 0.6 GB in memory
MAX_DECODING_S = 30.0
_DECODER_THREADS = 2
# The demuxer is named by content: FFmpeg's own guess would also take playlists, which name files.
_DEMUXERS = {
    "MP4": "mov",
    "MOV": "mov",
    "3GP": "mov",
    "WEBM": "matroska",
    "MKV": "matroska",
    "AVI": "avi",
}
_UPRIGHT = {  # degrees counter-clockwise that show a frame upright
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}


def decode_clip(
    data: bytes, num_frames: int, limits: Limits, clock: Callable[[], float] = time.monotonic
) -> Clip:
    """Decode `num_frames` evenly spaced frames, the first and the last among them.

    A video of fewer frames gives all it has. MP4 and WebM go through PyAV, GIF and WebP through
    Pillow.

    Raises:
        MediaUnreadable: another format, no pictures in it, or a damaged file.
        MediaTooLarge: beyond `limits` or one of this module's bounds.
    """
    kind = sniff(data)
    check_bytes(len(data), limits.file_bytes)
    deadline = clock() + MAX_DECODING_S

    def check_time() -> None:
        if clock() > deadline:
            raise MediaTooLarge(f"decoding the video takes longer than {MAX_DECODING_S:g} s")

    if kind in ("GIF", "WEBP"):
        return _animation(data, kind, num_frames, limits, check_time)
    if kind not in VIDEOS:
        raise MediaUnreadable(
            "it is not a video of a known format (MP4, WEBM, animated GIF or WEBP); "
            f"by its content it seems to be {kind}"
        )
    try:
        return _film(data, kind, num_frames, limits, check_time)
    except FFmpegError as exc:
        raise MediaUnreadable(f"the {kind} file is damaged or cut short ({exc.strerror})") from exc
    except DAMAGE as exc:
        raise MediaUnreadable(f"the {kind} file is damaged or cut short ({exc})") from exc


def spread(total: int, wanted: int) -> list[int]:
    """Return `min(wanted, total)` indices of 0..total-1, evenly spaced, both ends included.

    Source: LLaVA-VL/LLaVA-NeXT, `process_video_with_decord`: linspace(0, total - 1, wanted).
    """
    count = min(wanted, total)
    if count == 1:
        return [0]
    return [at * (total - 1) // (count - 1) for at in range(count)]


def _animation(
    data: bytes, kind: str, num_frames: int, limits: Limits, check_time: Callable[[], None]
) -> Clip:
    with open_image(data, kind, limits) as image:
        try:
            total: int = getattr(image, "n_frames", 1)  # a GIF counts by skipping through the file
            check_time()
            _check_length(total, None)
            wanted = spread(total, num_frames)
            _check_clip(image.size, len(wanted))
            frames = []
            for index in range(wanted[-1] + 1):  # each frame builds on the one before
                image.seek(index)
                if index in wanted:
                    frames.append(as_picture(image.copy()))
                check_time()
        except DAMAGE as exc:
            raise MediaUnreadable(f"the {kind} file is damaged or cut short ({exc})") from exc
    return Clip(tuple(frames))


def _film(
    data: bytes, kind: str, num_frames: int, limits: Limits, check_time: Callable[[], None]
) -> Clip:
    total = 0
    with _opened(data, kind) as container:
        stream = _video_stream(container)
        check_size((stream.width, stream.height), limits)
        _check_length(stream.frames, _duration_s(container, stream))
        for packet in container.demux(stream):
            # Flushing packets are empty; discarded ones lie before the cut of an edited film.
            total += packet.size > 0 and not packet.is_discard
            _check_length(total, None)
            check_time()
    if total == 0:
        raise MediaUnreadable("the video has no frames")
    wanted = spread(total, num_frames)
    _check_clip((stream.width, stream.height), len(wanted))
    with _opened(data, kind) as container:
        stream = _video_stream(container)
        stream.codec_context.thread_count = _DECODER_THREADS
        frames = _chosen(_decoded(container, stream, check_time), wanted, limits)
    return Clip(tuple(frames))


def _opened(data: bytes, kind: str) -> av.container.InputContainer:
    return av.open(
        io.BytesIO(data),
        "r",
        format=_DEMUXERS[kind],
        container_options={"protocol_whitelist": "none", "enable_drefs": "0"}
        if _DEMUXERS[kind] == "mov"
        else {"protocol_whitelist": "none"},
        metadata_errors="replace",
    )


def _video_stream(container: av.container.InputContainer) -> VideoStream:
    if not container.streams.video:
        raise MediaUnreadable("the file holds no video, only sound or data")
    return container.streams.video[0]


def _duration_s(container: av.container.InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    return None if container.duration is None else Fraction(container.duration, av.time_base)


def _decoded(
    container: av.container.InputContainer, stream: VideoStream, check_time: Callable[[], None]
) -> Iterator[VideoFrame]:
    for frame in container.decode(stream):
        check_time()
        yield frame


def _chosen(frames: Iterator[VideoFrame], wanted: Sequence[int], limits: Limits) -> list[Picture]:
    pictures: list[Picture] = []
    decoded = 0
    for frame in frames:
        if decoded == wanted[len(pictures)]:
            check_size((frame.width, frame.height), limits)  # a stream may change its size
            pictures.append(as_picture(_upright(frame)))
            if len(pictures) == len(wanted):
                return pictures
        decoded += 1
    raise MediaUnreadable(f"only {decoded} of its {wanted[-1] + 1} frames can be decoded")


def _upright(frame: VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    turn = _UPRIGHT.get(round(frame.rotation) % 360)
    return image if turn is None else image.transpose(turn)


def _check_length(frames: int, duration_s: Fraction | None) -> None:
    if frames > MAX_SOURCE_FRAMES:
        raise MediaTooLarge(
            f"the video has more than {MAX_SOURCE_FRAMES} frames; send a shorter part of it"
        )
    if duration_s is not None and duration_s > MAX_DURATION_S:
        raise MediaTooLarge(
            f"the video lasts {float(duration_s):.0f} s; at most {MAX_DURATION_S} s are accepted"
        )


def _check_clip(size: tuple[int, int], frames: int) -> None:
    """Check the memory of `frames` frames of (width, height)."""
    pixels = size[0] * size[1] * frames
    if pixels > MAX_CLIP_PIXELS:
        raise MediaTooLarge(
            f"{frames} frames of {size[0]} x {size[1]} pixels are {pixels / 1e6:.0f} megapixels; "
            f"at most {MAX_CLIP_PIXELS / 1e6:g} are accepted: ask for fewer frames (num_frames)"
        )
