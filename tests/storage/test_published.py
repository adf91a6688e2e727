"""A published file shows what it showed, and tells nothing else."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from llava_serve.errors import MediaUnreadable
from llava_serve.storage.filetypes import BY_FORMAT
from llava_serve.storage.published import published
from tests.media.filmed import video_file, with_matrix

SECRET = b"Elm Street 13"
PLACE = "+12.3456+098.7654/"


def drawn(mode: str = "RGB") -> Image.Image:
    """Wider than high, each quarter of its own colour."""
    image = Image.new("RGB", (64, 32), "red")
    for box, colour in (((32, 0), "lime"), ((0, 16), "blue"), ((32, 16), "white")):
        image.paste(colour, (*box, box[0] + 32, box[1] + 16))
    return image.convert(mode)


def exif_of(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    exif[Base.Make] = SECRET.decode()
    exif.get_ifd(IFD.GPSInfo)[1] = "N"
    exif.get_ifd(IFD.GPSInfo)[29] = SECRET.decode()
    return exif


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (image or drawn()).save(out, kind, **options)
    return out.getvalue()


def shown(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def is_close(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two images are the same but for what compression does."""
    assert one.size == other.size
    difference = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))
    return bool(difference.mean() < 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_is_upright_and_tells_no_place(kind: str, orientation: int) -> None:
    data = saved(kind, exif=exif_of(orientation), quality=95)
    assert SECRET in data
    made, mime = published(data, BY_FORMAT[kind])
    assert SECRET not in made and mime in ("image/jpeg", "image/png")
    upright = drawn() if orientation == 1 else drawn().transpose(Image.Transpose.ROTATE_270)
    assert is_close(shown(made), upright)
    assert not shown(made).getexif()


def test_what_programs_write_beside_the_pixels_goes_and_not_a_pixel_of_them() -> None:
    told = PngInfo()
    told.add_text("Author", SECRET.decode())
    told.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    data = saved("PNG", pnginfo=told) + SECRET  # some write behind the end
    made, _ = published(data, BY_FORMAT["PNG"])
    assert data.count(SECRET) == 3 and SECRET not in made
    assert shown(made).tobytes() == drawn().tobytes()
    made, _ = published(saved("JPEG", comment=SECRET, xmp=SECRET) + SECRET, BY_FORMAT["JPEG"])
    assert SECRET not in made


def test_a_colour_profile_goes_once_it_is_applied() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made, _ = published(saved("PNG", icc_profile=profile), BY_FORMAT["PNG"])
    assert is_close(shown(made), drawn()) and b"iCCP" not in made
    made, _ = published(saved("PNG", icc_profile=b"damaged"), BY_FORMAT["PNG"])
    assert is_close(shown(made), drawn())


def frames_of(data: bytes) -> list[tuple[bytes, int]]:
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            frames.append((image.convert("RGBA").tobytes(), image.info["duration"]))
        return frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_moves_as_it_did(kind: str) -> None:
    turned_around = drawn().transpose(Image.Transpose.ROTATE_180)
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": [turned_around, drawn()],
        "loop": 0,
    }
    beside: dict[str, Any] = (
        {"comment": SECRET} if kind == "GIF" else {"exif": exif_of(), "xmp": SECRET}
    )
    data = saved(kind, duration=[100, 300, 200], **options, **beside)
    if kind == "GIF":
        xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET + b"\0"
        data = data[:-1] + xmp + b"\x3b" + SECRET
    made, mime = published(data, replace(BY_FORMAT[kind], kind="video"))
    assert SECRET in data and SECRET not in made and mime == BY_FORMAT[kind].mime
    assert frames_of(made) == frames_of(data)
    with Image.open(io.BytesIO(made)) as image:
        assert image.info["loop"] == 0
        assert "exif" not in image.info and "comment" not in image.info


@pytest.mark.parametrize(
    ("kind", "container", "codec"),
    [("MP4", "mp4", "libx264"), ("MOV", "mov", "libx264"), ("WEBM", "webm", "libvpx")],
)
def test_a_video_plays_as_it_did_and_tells_no_place(kind: str, container: str, codec: str) -> None:
    data = told(video_file(container, codec), container)
    assert PLACE.encode() in data and SECRET in data
    made, mime = published(data, BY_FORMAT[kind])
    assert PLACE.encode() not in made and SECRET not in made and mime == BY_FORMAT[kind].mime
    with av.open(io.BytesIO(data), "r") as before, av.open(io.BytesIO(made), "r") as after:
        pictures = [
            [(one.pts, one.to_ndarray().tobytes()) for one in file.decode(video=0)]
            for file in (before, after)
        ]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 40


def told(data: bytes, container: str) -> bytes:
    """Copy a video, with a place and a name in its metadata."""
    out = io.BytesIO()
    options = {} if container == "webm" else {"movflags": "use_metadata_tags"}
    with (
        av.open(io.BytesIO(data), "r") as source,
        av.open(out, "w", format=container, options=options) as copy,
    ):
        to = copy.add_stream_from_template(source.streams.video[0], opaque=True)
        copy.metadata.update({"location": PLACE, "title": SECRET.decode()})
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = to
                copy.mux(packet)
    return out.getvalue()


def test_a_video_stays_upright() -> None:
    made, _ = published(with_matrix(video_file(frames=2), (0, 1, -1, 0)), BY_FORMAT["MP4"])
    with av.open(io.BytesIO(made), "r") as video:
        assert next(video.decode(video=0)).rotation % 360 != 0


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "MP4"])
@pytest.mark.parametrize("cut", [lambda data: data[:40], lambda data: data[:-30] + bytes(30)])
def test_what_cannot_be_read_is_refused_or_tells_nothing(
    kind: str, cut: Callable[[bytes], bytes]
) -> None:
    data = video_file() if kind == "MP4" else saved(kind, drawn("P") if kind == "GIF" else None)
    filetype = BY_FORMAT[kind]
    if kind == "GIF":
        filetype = replace(filetype, kind="video")
    try:
        made, _ = published(cut(data) + struct.pack("<I", 0) + SECRET, filetype)
    except MediaUnreadable:
        return
    assert SECRET not in made
