"""JPEG and TIFF files: what Pillow leaves open about cut, many-layered and unusual ones."""

import io

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from llava_serve.errors import MediaUnreadable
from llava_serve.media.limits import FileLimits, check_size
from llava_serve.media.orientation import of_exif

_END = b"\xff\xd9"
MAX_SCANS = 100  # encoders write about ten; each goes over the whole image
_SCAN = b"\xff\xda"
_TAILS = (_END, b"\x55" * 4096 + _END)


def load_jpeg(image: Image.Image, data: bytes) -> Image.Image:
    """Decode an opened JPEG file, whose bytes are `data`, at the size it is set to.

    A file whose data ends early is accepted if nothing of the image is missing, as where only the
    end marker is lost: then it is the same whatever is put behind the data.

    Raises:
        MediaUnreadable: a part of the image is missing, or it comes in too many parts.
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
        first = _decoded_jpeg(rest + _TAILS[0], size)
        if _decoded_jpeg(rest + _TAILS[1], size).tobytes() != first.tobytes():
            raise MediaUnreadable(
                "the JPEG file is damaged or cut short: a part of the picture is missing"
            ) from exc
        return first
    return image


def _decoded_jpeg(data: bytes, size: tuple[int, int]) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.draft(None, size)
    image.load()
    return image


_PHOTOMETRIC, _ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 262, 274, 322, 323
_WHITE_IS_ZERO = 0
_NO_RANGE = {"F": "floating-point numbers", "I": "32-bit or signed whole numbers"}


class TiffFirstPage(TiffImagePlugin.TiffImageFile):
    """Pillow's reader without its interest in EXIF: only the orientation is read."""

    def check(self, limits: FileLimits) -> None:
        """Check what Pillow's header check does not.

        Raises:
            MediaUnreadable: samples without a range that says what is black and white.
            MediaTooLarge: tiles, which are decoded whole, are larger than an image may be.
        """
        if self.mode in _NO_RANGE:
            raise MediaUnreadable(
                f"the TIFF file's samples are {_NO_RANGE[self.mode]}, for which no rule says what "
                "is black and what is white; save it with 8 or 16 bits per sample"
            )
        width, length = self.tag_v2.get(_TILE_WIDTH), self.tag_v2.get(_TILE_LENGTH)
        if isinstance(width, int) and isinstance(length, int) and min(width, length) > 0:
            check_size((width, length), limits)

    def load_end(self) -> None:
        turn = of_exif(self.tag_v2.get(_ORIENTATION))
        if turn is not None:
            self.im = self.im.transpose(turn)
        self._size = self.im.size


def visible_tiff(page: Image.Image) -> Image.Image:
    """Return the page in a mode that Pillow converts to RGB as it should look."""
    if not isinstance(page, TiffFirstPage):
        return page
    if page.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(page, lab, srgb, outputMode="RGB")
        return page if shown is None else shown
    if page.mode.startswith("I;16") and page.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return Image.fromarray(0xFFFF - np.asarray(page))
    return page
