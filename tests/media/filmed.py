"""Films that the tests of this folder draw, encode, cut and damage."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

STEP = 6  # frame `n` is this much redder than the one before
# Groups of images that lean on the one before, as cameras and encoders make them.
OPEN_GROUPS = {"x264-params": "keyint=12:open-gop=1:bframes=3:b-adapt=0:scenecut=0"}
CLOSED_GROUPS = {"x264-params": "keyint=12:bframes=0:scenecut=0"}


def drawn(index: int, size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Frame `index`: redder each time, its upper left corner white."""
    image = Image.new("RGB", size, (index * STEP, 0, 0))
    image.paste((255, 255, 255), (0, 0, 16, 16))
    return image


def video_file(
    container_format: str = "mp4",
    codec: str = "libx264",
    frames: int = 40,
    rate: Fraction = Fraction(10),
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (64, 32),
    movflags: str = "",
) -> bytes:
    file = io.BytesIO()
    muxing = {"movflags": movflags} if movflags else {}
    with av.open(file, "w", format=container_format, options=muxing) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            pixels = np.asarray(drawn(index, size))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return file.getvalue()


def copied(
    data: bytes, container_format: str, dropped: int, later: Callable[[int], int] = lambda pts: pts
) -> bytes:
    """Copy a video without its first `dropped` packets, its stamps changed by `later`."""
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(data), "r") as source,
        av.open(file, "w", format=container_format) as copy,
    ):
        stream = source.streams.video[0]
        to = copy.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.size][dropped:]
        start = min(packet.dts for packet in packets if packet.dts is not None)
        for packet in packets:
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts, packet.dts = later(packet.pts - start), later(packet.dts - start)
            packet.stream = to
            copy.mux(packet)
    return file.getvalue()


def damaged(data: bytes, packets: Sequence[int]) -> bytes:
    """Overwrite the coded images of some packets, in the order they lie in the file."""
    found = bytearray(data)
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        for number, packet in enumerate(list(container.demux(stream))):
            if number in packets:
                body = bytes(packet)
                at = data.index(body)
                found[at + 5 : at + len(body)] = b"\xff" * (len(body) - 5)
    return bytes(found)


def with_cover(codec: str, container_format: str, with_film: bool) -> bytes:
    """A file of sound with a red cover image as its first stream, and maybe a video after it."""
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        cover = container.add_stream(codec, rate=1)
        assert isinstance(cover, av.VideoStream)
        cover.width, cover.height = 100, 100
        cover.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
        cover.disposition = Disposition.attached_pic
        sound = container.add_stream("aac", rate=8000)
        video_file = container.add_stream("libx264", rate=10) if with_film else None
        if video_file is not None:
            video_file.width, video_file.height = 64, 32
            video_file.pix_fmt = "yuv420p"
        red = av.VideoFrame.from_ndarray(np.asarray(Image.new("RGB", (100, 100), "red")))
        container.mux(cover.encode(red))
        container.mux(cover.encode())
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 8000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
        if video_file is not None:
            for index in range(20):
                pixels = np.asarray(drawn(index))
                container.mux(video_file.encode(av.VideoFrame.from_ndarray(pixels)))
            container.mux(video_file.encode())
    return file.getvalue()


def with_attachment() -> bytes:
    """An MKV video that carries a red JPEG as a cover."""
    file, cover = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (100, 100), "red").save(cover, "JPEG")
    with av.open(file, "w", format="matroska") as container:
        container.add_attachment("cover.jpg", "image/jpeg", cover.getvalue())
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = 64, 32
        stream.pix_fmt = "yuv420p"
        for index in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(drawn(index)))))
        container.mux(stream.encode())
    return file.getvalue()


def of_jpegs(exif: bytes) -> bytes:
    """A video whose frames are JPEG files with EXIF blocks of their own."""
    picture, file = io.BytesIO(), io.BytesIO()
    drawn(10).save(picture, "JPEG", exif=exif, quality=95)
    with av.open(file, "w", format="mov") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height = 64, 32
        stream.pix_fmt = "yuvj420p"
        for index in range(3):
            packet = av.Packet(picture.getvalue())
            packet.pts = packet.dts = index
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 5), True, stream
            container.mux(packet)
    return file.getvalue()


def with_matrix(data: bytes, matrix: tuple[float, float, float, float]) -> bytes:
    """Write (a, b, c, d) of x' = a x + c y, y' = b x + d y into an MP4 file."""
    a, b, c, d = (int(value * 65536).to_bytes(4, "big", signed=True) for value in matrix)
    changed = bytearray(data)
    at = data.index(b"tkhd") + 4 + 40
    changed[at : at + 20] = a + b + bytes(4) + c + d
    return bytes(changed)
