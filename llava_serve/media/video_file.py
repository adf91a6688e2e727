"""Video files in MP4, MOV, 3GP, WebM, MKV and AVI containers: the frames that really decode.

What a container says about its frames (how many, how long, which of them are key frames) is not
believed: a video that was cut out of a longer one, or is damaged, has less than it promises.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction

import PIL.Image
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media import orientation
from llava_serve.media.container import open_container
from llava_serve.media.decode import as_image
from llava_serve.media.limits import FileLimits, check_size
from llava_serve.request import Image

MAX_DURATION_S = 600
MAX_SOURCE_FRAMES = 20_000  # frames of the file; all up to the last wanted one are decoded
_DECODER_THREADS = 2
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
            stream = video_stream(container)
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
        wanted = choose(promised)
        for intact_only in (True, False):
            for _ in range(2):
                images, decoded = self._images(wanted, intact_only)
                if len(images) == len(wanted):
                    return images
                images.clear()  # they take memory while the next ones are decoded
                if decoded == 0:
                    break
                wanted = choose(decoded)
        raise MediaUnreadable(f"none of the video's {promised} frames can be decoded")

    def _bounds(self) -> dict[str, str]:
        """Bound what decoders take on, also while a file is opened; coded sizes are rounded up."""
        return {"max_pixels": str(2 * self.limits.pixels)}

    def _opened(self) -> InputContainer:
        return open_container(self.data, self.kind, self._bounds())

    def _count_packets(self) -> int:
        """Count the packets of the video, and measure its time by their stamps."""
        total = 0
        starts, ends = [], []
        with self._opened() as container:
            stream = video_stream(container)
            for packet in _packets(container, stream):
                self.check_time()
                # Flushing packets are empty; discarded ones lie before the cut of an edited video.
                if packet is None or not packet.size or packet.is_discard:
                    continue
                total += 1
                check_count(total)
                if packet.pts is not None:
                    starts.append(packet.pts)
                    ends.append(packet.pts + (packet.duration or 0))
            ticks = max(ends, default=0) - min(starts, default=0)
            duration_s = ticks * (stream.time_base or Fraction(0))
        if duration_s > MAX_DURATION_S:
            raise MediaTooLarge(
                f"the video lasts {float(duration_s):.0f} s; at most {MAX_DURATION_S} s are "
                "accepted"
            )
        return total

    def _images(self, wanted: Sequence[int], intact_only: bool) -> tuple[list[Image], int]:
        """Return the images of the `wanted` frames that decode, and how many frames decoded."""
        images: list[Image] = []
        decoded = 0
        began_s: float | None = None
        with closing(self._decoded(intact_only)) as frames:
            for frame in frames:
                began_s = frame.time if began_s is None else began_s
                if decoded == wanted[len(images)]:
                    check_size((frame.width, frame.height), self.limits)  # a stream may change it
                    has_times = began_s is not None and frame.time is not None
                    time_s = frame.time - began_s if has_times else None
                    images.append(replace(_upright(frame), time_s=time_s))
                decoded += 1
                if len(images) == len(wanted):
                    break
        return images, decoded

    def _decoded(self, intact_only: bool) -> Generator[VideoFrame]:
        """Yield the frames that decode, in the order they are shown in."""
        with self._opened() as container:
            stream = video_stream(container)
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
                    if not intact_only or not (awaits_key or frame.is_corrupt):
                        yield frame


def check_count(frames: int) -> None:
    """Check the frames of a whole video. Raises: MediaTooLarge."""
    if frames > MAX_SOURCE_FRAMES:
        raise MediaTooLarge(
            f"the video has more than {MAX_SOURCE_FRAMES} frames; send a shorter part of it"
        )


def video_stream(container: InputContainer) -> VideoStream:
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
) -> Iterator["Packet[VideoStream] | None"]:
    """Yield packets up to the end, or to where the file cannot be read on; then None."""
    try:
        yield from container.demux(stream)
    except FFmpegError:  # what was read so far is a video too
        yield None


def _upright(frame: VideoFrame) -> Image:
    turn = orientation.of_frame(frame)
    image = PIL.Image.fromarray(frame.to_ndarray(format="rgb24"))
    return as_image(image if turn is None else image.transpose(turn))
