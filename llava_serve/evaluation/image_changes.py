"""Image changes: what is shown with a question, the original media or a control in their place."""

import io
from collections.abc import Callable, Sequence

import av
import numpy as np
import PIL.Image

from llava_serve.evaluation.image_pool import ImagePool, digest_of
from llava_serve.evaluation.manifest import Images
from llava_serve.evaluation.media_file import MOST_BYTES
from llava_serve.evaluation.question import Medium
from llava_serve.media.decode import upright_size
from llava_serve.media.limits import FileLimits
from llava_serve.media.video import decode_video

# The bytes of the files to show in place of the media of one question, in their order.
Show = Callable[[Sequence[Medium]], list[bytes]]

_GRAY = 128
_MOST_FRAMES = 32  # no LLaVA checkpoint looks at more by itself
_LIMITS = FileLimits(file_bytes=MOST_BYTES, pixels=400_000_000)  # the server's own are narrower


def show_of(images: Images, pool: ImagePool) -> Show:
    """Return what shows a question's media; blocking, for a thread.

    Each raises `MediaUnreadable` or `MediaTooLarge` where a file cannot be shown.
    """
    match images:
        case "original":
            return original
        case "gray":
            return gray
        case "swapped":
            return lambda media: swapped(media, pool)


def original(media: Sequence[Medium]) -> list[bytes]:
    """Return the files as they are."""
    return [medium.read() for medium in media]


def swapped(media: Sequence[Medium], pool: ImagePool) -> list[bytes]:
    """Return other images of the same task, and other videos for videos: always the same ones.

    Where the pool has a choice, none is one of the question's own, and no two are the same.
    """
    own = [digest_of(medium.read()) for medium in media]
    avoided = set(own)
    shown = []
    for medium, digest in zip(media, own, strict=True):
        chosen, other = pool.other(medium.kind, digest, avoided)
        avoided.add(chosen)
        shown.append(other.read())
    return shown


def gray(media: Sequence[Medium]) -> list[bytes]:
    """Return plain gray images of the same (width, height), and videos of as many frames.

    Of a video at most 32 frames are counted, and a side of odd length is one pixel longer.
    """
    return [_gray_image(one) if one.kind == "image" else _gray_video(one) for one in media]


def _gray_image(medium: Medium) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("L", upright_size(medium.read(), _LIMITS), _GRAY).save(file, "PNG")
    return file.getvalue()


def _gray_video(medium: Medium) -> bytes:
    frames = decode_video(medium.read(), _MOST_FRAMES, _LIMITS).frames
    width, height = (side + side % 2 for side in frames[0].image.size)  # 4:2:0 needs even sides
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1, width=width, height=height)
        pixels = np.full((height, width, 3), _GRAY, np.uint8)
        for _ in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return file.getvalue()
