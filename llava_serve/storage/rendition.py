"""Renditions: what the page shows of files that not every browser does, such as HEIC and AVI."""

import io
import threading

from llava_serve.media.decode import decode_image
from llava_serve.media.limits import FileLimits
from llava_serve.media.video import decode_video
from llava_serve.storage.filetypes import FileType

_LONGEST_SIDE = 2048  # pixels
LIMIT_PIXELS = 50_000_000
one_at_a_time = threading.Lock()  # decoding takes memory that no quota counts here


def rendition(data: bytes, filetype: FileType) -> bytes:
    """Draw a picture, or a video's first frame, as a WebP file of at most 2048 pixels a side.

    Raises:
        MediaUnreadable: it cannot be decoded.
        MediaTooLarge: it has more pixels than images may have where no flag says otherwise.
    """
    limits = FileLimits(len(data), LIMIT_PIXELS)
    with one_at_a_time:
        if filetype.kind == "image":
            image = decode_image(data, limits).image
        else:
            image = decode_video(data, 1, limits).frames[0].image
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        file = io.BytesIO()
        image.save(file, "WEBP", quality=85)
    return file.getvalue()
