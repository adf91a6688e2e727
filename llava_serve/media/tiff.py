"""TIFF files: their first page, of the layouts that have one way to be seen."""

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from llava_serve.errors import MediaUnreadable
from llava_serve.media.limits import Limits, check_size
from llava_serve.media.orientation import of_exif

_PHOTOMETRIC, _ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 262, 274, 322, 323
_WHITE_IS_ZERO = 0
_NO_RANGE = {"F": "floating-point numbers", "I": "32-bit or signed whole numbers"}


class FirstPage(TiffImagePlugin.TiffImageFile):
    """Pillow's reader without its interest in EXIF: only the orientation is read."""

    def check(self, limits: Limits) -> None:
        """Check what Pillow's header check does not.

        Raises:
            MediaUnreadable: samples without a range that says what is black and white.
            MediaTooLarge: tiles, which are decoded whole, are larger than a picture may be.
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


def visible(page: Image.Image) -> Image.Image:
    """Return the page in a mode that Pillow converts to RGB as it should look."""
    if not isinstance(page, FirstPage):
        return page
    if page.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(page, lab, srgb, outputMode="RGB")
        return page if shown is None else shown
    if page.mode.startswith("I;16") and page.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return Image.fromarray(0xFFFF - np.asarray(page))
    return page
