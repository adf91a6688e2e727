"""Video files in MP4, MOV, 3GP, WebM, MKV and AVI containers: the frames that really decode.

What a container says about its frames (how many, how long, which of them are key frames) is not
believed: a video that was cut out of a longer one, or is damaged, has less than it promises.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import PIL.Image
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media import orientation
from llava_serve.media.decode import as_image
from llava_serve.media.limits import FileLimits, check_size
from llava_serve.request import Image

MAX_DURATION_S = 600
MAX_SOURCE_FRAMES = 20_000  # frames of the file; all up to the last wanted one are decoded
_DECODER_THREADS = 2
# The demuxer is named by content: FFmpeg's own guess would also take playlists, which name files.
_DEMUXERS = {
    **dict.fromkeys(("MP4", "MOV", "3GP"), "mov"),
    **dict.fromkeys(("WEBM", "MKV"), "matroska"),
    "AVI": "avi",
}
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails

Choose = Callable[[int], list[int]]  # frames there are -> those that are wanted, in order


@dataclass(frozen=True, slots=True)
class VideoFile:
    """One file; `check_time` is called before each packet and raises when there is no time left.

    What cannot be read at all raises an `FFmpegError`.
    """

    data: bytes
    kind: str
    limits: FileLimits
    check_time: Callable[[], None]

    def size(self) -> tuple[int, int]:
        """Return the (width, height) that the header announces.

        Raises:
            MediaUnreadable: no video in the file.
            MediaTooLarge: larger than the limits.
        """
        with self._opened() as container:
            stream = _video_stream(container)
            size = (stream.width, stream.height)
        check_size(size, self.limits)
        return size

    def frames(self, choose: Choose) -> list[Image]:
        """Decode the frames that `choose` picks among those that can be decoded.

        Raises:
            MediaUnreadable: as `size`, or no frame decodes, or they are to be shown in a way that
                is not possible here.
            MediaTooLarge: too many frames, too large ones, or a video too long by its time stamps.
        """
        promised = self._count_packets()
        if promised == 0:
            raise MediaUnreadable("the video has no frames")
        # First as many as there are packets, which is right for a whole video; then what there
        # really was; and where every frame is marred, those.
        found = _Found(choose(promised))
        for intact_only in (True, False):
            for _ in range(2):
                self._decode(found, intact_only)
                if found.is_complete:
                    return found.images
                if found.decoded == 0:
                    break
                found = _Found(choose(found.decoded))
        raise MediaUnreadable(f"none of the video's {promised} frames can be decoded")

    def _bounds(self) -> dict[str, str]:
        """Bound what decoders take on, also while a file is opened; coded sizes are rounded up."""
        return {"max_pixels": str(2 * self.limits.pixels)}

    def _opened(self) -> InputContainer:
        demuxer = _DEMUXERS[self.kind]
        return av.open(
            io.BytesIO(self.data),
            "r",
            format=demuxer,
            options=self._bounds(),
            container_options={"protocol_whitelist": "none"}
            | ({"enable_drefs": "0"} if demuxer == "mov" else {}),
            metadata_errors="replace",
        )

    def _count_packets(self) -> int:
        """Count the packets of the video, and measure its time by their stamps."""
        total, stamps = 0, _Stamps()
        with self._opened() as container:
            stream = _video_stream(container)
            for packet in _packets(container, stream):
                self.check_time()
                # Flushing packets are empty; discarded ones lie before the cut of an edited video.
                if packet is None or not packet.size or packet.is_discard:
                    continue
                stamps.add(packet)
                total += 1
                if total > MAX_SOURCE_FRAMES:
                    raise MediaTooLarge(
                        f"the video has more than {MAX_SOURCE_FRAMES} frames; send a shorter part "
                        "of it"
                    )
            _check_duration(stamps.ticks * (stream.time_base or Fraction(0)))
        return total

    def _decode(self, found: "_Found", intact_only: bool) -> None:
        """Let `found` meet the frames in the order they are shown in, until it is complete."""
        with self._opened() as container:
            stream = _video_stream(container)
            context = stream.codec_context
            context.thread_count = _DECODER_THREADS
            context.options = self._bounds()
            awaits_key: bool | None = None
            for packet in _packets(container, stream):
                self.check_time()
                if awaits_key is None:
                    awaits_key = packet is not None and not packet.is_keyframe
                try:
                    frames = context.decode(packet)
                except FFmpegError:  # a damaged packet: the next ones may be whole
                    continue
                for frame in frames:
                    awaits_key = awaits_key and not frame.key_frame
                    if intact_only and (awaits_key or frame.is_corrupt):
                        continue
                    found.meet(frame, self.limits)
                    if found.is_complete:
                        return


@dataclass(slots=True)
class _Found:
    """The images of the `wanted` frames, as far as they were met, and how many frames decoded."""

    wanted: Sequence[int]
    images: list[Image] = field(default_factory=list)
    decoded: int = 0

    @property
    def is_complete(self) -> bool:
        return len(self.images) == len(self.wanted)

    def meet(self, frame: VideoFrame, limits: FileLimits) -> None:
        if self.wanted[len(self.images)] == self.decoded:
            check_size((frame.width, frame.height), limits)  # a stream may change its size
            turn = orientation.of_frame(frame)
            image = _image(frame)
            self.images.append(as_image(image if turn is None else image.transpose(turn)))
        self.decoded += 1


@dataclass(slots=True)
class _Stamps:
    """The time that packets span, in their stream's time base."""

    first: int | None = None
    last: int = 0

    @property
    def ticks(self) -> int:
        return 0 if self.first is None else self.last - self.first

    def add(self, packet: "av.Packet[VideoStream]") -> None:
        if packet.pts is None:
            return
        end = packet.pts + (packet.duration or 0)
        self.last = end if self.first is None else max(self.last, end)
        self.first = packet.pts if self.first is None else min(self.first, packet.pts)


def _video_stream(container: InputContainer) -> VideoStream:
    """Return the first stream that is a video: a cover image is a stream too."""
    streams = [stream for stream in container.streams.video if not stream.disposition & _COVERS]
    if not streams:
        cover = " and a cover picture" if container.streams.video else " or data"
        raise MediaUnreadable(f"the file holds no video, only sound{cover}")
    if streams[0].codec_context is None:
        raise MediaUnreadable("the video is encoded in a way that cannot be decoded here")
    return streams[0]


def _packets(
    container: InputContainer, stream: VideoStream
) -> Iterator["av.Packet[VideoStream] | None"]:
    """Yield packets up to the end, or to where the file cannot be read on; then None."""
    try:
        yield from container.demux(stream)
    except FFmpegError:  # what was read so far is a video too
        yield None


def _check_duration(duration_s: Fraction) -> None:
    if duration_s > MAX_DURATION_S:
        raise MediaTooLarge(
            f"the video lasts {float(duration_s):.0f} s; at most {MAX_DURATION_S} s are accepted"
        )


def _image(frame: VideoFrame) -> PIL.Image.Image:
    rgb = frame.reformat(format="rgb24")
    plane = rgb.planes[0]
    if plane.line_size < 0:  # rows from bottom to top
        image: PIL.Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
        return image
    size = (rgb.width, rgb.height)
    pixels: Any = plane  # a buffer, though its type does not say so
    return PIL.Image.frombuffer("RGB", size, pixels, "raw", "RGB", plane.line_size, 1)
