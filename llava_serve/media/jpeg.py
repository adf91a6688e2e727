"""JPEG files that lack their end marker, and those that lack more."""

import io

from PIL import Image

from llava_serve.errors import MediaUnreadable

_END = b"\xff\xd9"
MAX_SCANS = 100  # encoders write about ten; each goes over the whole picture
_SCAN = b"\xff\xda"
_TAILS = (_END, b"\x55" * 4096 + _END)


def load(image: Image.Image, data: bytes) -> Image.Image:
    """Decode an opened JPEG file, whose bytes are `data`, at the size it is set to.

    A file whose data ends early is accepted if nothing of the picture is missing, as where only the
    end marker is lost: then it is the same whatever is put behind the data.

    Raises:
        MediaUnreadable: a part of the picture is missing, or it comes in too many parts.
        OSError: the file is damaged in another way.
    """
    if (scans := data.count(_SCAN)) > MAX_SCANS:
        raise MediaUnreadable(
            f"the JPEG file goes over its picture {scans} times; at most {MAX_SCANS} are accepted"
        )
    try:
        image.load()
    except OSError as exc:
        if "truncated" not in str(exc):
            raise
        rest = data.rstrip(b"\xff")  # the first half of a marker
        size = image.size
        first = _decoded(rest + _TAILS[0], size)
        if _decoded(rest + _TAILS[1], size).tobytes() != first.tobytes():
            raise MediaUnreadable(
                "the JPEG file is damaged or cut short: a part of the picture is missing"
            ) from exc
        return first
    return image


def _decoded(data: bytes, size: tuple[int, int]) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.draft(None, size)
    image.load()
    return image
