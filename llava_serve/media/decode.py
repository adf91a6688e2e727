"""Bytes become an upright RGB image, within limits that hold before anything is decoded."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import PIL.Image
from PIL import _imaging

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media import formats, heif, orientation
from llava_serve.media.damage import BOMB, DAMAGE, damaged
from llava_serve.media.limits import LARGE_PIXELS, Cost, FileLimits, check_bytes, check_size
from llava_serve.media.sniff import IMAGES, sniff
from llava_serve.request import Image, SentFile

# What is left of a huge image has sides at least this long: see `reduction`.
_LONGER_SIDE, _SHORTER_SIDE = 3000, 500
# Times a decoder holds the whole image: as it was encoded, as bytes, as an image.
_COPIES = {"WEBP": 3, "AVIF": 2, "HEIC": 2}
_BAND_PIXELS = 1 << 18  # as many are converted or digested at a time
# Pillow's memory in blocks that glibc maps afresh, above the 32 MiB that it may keep: it need not
# write zeros over them, which would stop all threads for 0.1 s.
_imaging.set_block_size(64 << 20)


def decode_image(data: bytes, limits: FileLimits) -> Image:
    """Decode an image file of one of the formats in `IMAGES`.

    Of an animation the first frame is shown, of a TIFF file the first page. A huge image is
    reduced (see `reduction`).

    Raises:
        MediaUnreadable: another format, or a damaged or cut file.
        MediaTooLarge: beyond `limits`, `MAX_SIDE` or `MAX_RATIO`; told from the header alone.
    """
    kind = _kind(data, limits)
    with open_image(data, kind, limits) as image:
        factor = reduction(image.size)
        turn = orientation.of_image(image)
        sent = SentFile(kind, image.size, orientation.turned(image.size, turn))
        try:
            shown = _loaded(image, data, kind, factor)
            upright = as_image(shown if turn is None else shown.transpose(turn))
            return replace(upright, sent=sent)
        except DAMAGE as exc:
            raise damaged(f"the {kind} file", exc) from exc


def image_cost(data: bytes, limits: FileLimits) -> Cost:
    """Say from the header alone what decoding takes memory for; raises the same."""
    kind = _kind(data, limits)
    with open_image(data, kind, limits) as image:
        whole = image.width * image.height
        kept, is_slow = whole // reduction(image.size) ** 2, whole > LARGE_PIXELS
        if kind == "JPEG":  # reduced while it is decoded, but for what progressive ones keep aside
            return Cost(kept, whole if "progressive" in image.info else kept, is_slow)
        copies = max(_COPIES.get(kind, 1), 2 if image.has_transparency_data else 1)
    return Cost(kept, whole * copies, is_slow)


def upright_size(data: bytes, limits: FileLimits) -> tuple[int, int]:
    """Return the (width, height) an image is shown in, from the header alone; raises the same."""
    with open_image(data, _kind(data, limits), limits) as image:
        return orientation.turned(image.size, orientation.of_image(image))


def reduction(size: tuple[int, int]) -> int:
    """Return by how much the sides of an image of (width, height) are divided: 1, 2, 4 or 8.

    The most that any LLaVA checkpoint looks at is a canvas of 2304 x 2304 pixels (OneVision's 36
    tiles of 384), into which the image is fitted; one that crops looks at a shorter side of at
    most 384. What is left here is at least 1.3 times that, so a model's processor still scales it
    down. Of a photograph of 7000 x 7000 pixels fitted into 2304 x 2304, 99 in 100 values come out
    within one grey level of what they are without this step (in the mean 0.2), and at 336 x 336 all
    do. Images whose longer side is below 6,000 pixels are left alone.
    """
    for factor in (8, 4, 2):
        if max(size) >= factor * _LONGER_SIDE and min(size) >= factor * _SHORTER_SIDE:
            return factor
    return 1


def open_image(data: bytes, kind: str, limits: FileLimits) -> PIL.Image.Image:
    """Read the header only.

    Raises:
        MediaUnreadable: the header is damaged, or of a form that is not read.
        MediaTooLarge: the size it announces is beyond `limits`.
    """
    try:
        image = _opened(data, kind)
    except BOMB as exc:  # Pillow's own bound, which looks at the header too
        raise MediaTooLarge(
            f"the picture is far beyond the {limits.pixels / 1e6:g} megapixels that are accepted: "
            f"{exc}"
        ) from exc
    except DAMAGE as exc:
        raise damaged(f"the {kind} file's header", exc) from exc
    check_size(image.size, limits)
    if isinstance(image, formats.TiffFirstPage):
        image.check(limits)
    if kind == "AVIF":  # its decoder believes the coded size, not the one that was announced
        for size in heif.coded_sizes(data):
            check_size(size, limits)
    return image


def as_image(image: PIL.Image.Image) -> Image:
    """Convert any mode to RGB and name the result by its content."""
    rgb = _to_rgb(image)
    digest = hashlib.sha256(b"%d %d " % rgb.size)
    for box in _bands(rgb.size):
        digest.update(rgb.crop(box).tobytes())
    return Image(rgb, digest.hexdigest())


def _kind(data: bytes, limits: FileLimits) -> str:
    kind = sniff(data)
    check_bytes(len(data), limits.file_bytes)
    if kind not in IMAGES:
        raise MediaUnreadable(
            f"it is not a picture of a known format ({', '.join(IMAGES)}); "
            f"by its content it seems to be {kind}"
        )
    return kind


def _opened(data: bytes, kind: str) -> PIL.Image.Image:
    if kind == "TIFF":
        return formats.TiffFirstPage(io.BytesIO(data))
    if kind == "HEIC":
        return heif.open_heic(data)
    if kind == "AVIF":
        return heif.open_avif(data)
    return PIL.Image.open(io.BytesIO(data), formats=(kind,))


def _loaded(image: PIL.Image.Image, data: bytes, kind: str, factor: int) -> PIL.Image.Image:
    """Decode the image with its sides divided by `factor`, in the decoder where it can."""
    if kind == "JPEG":
        width, height = image.size
        if factor > 1:
            image.draft(None, (width // factor, height // factor))
        return formats.load_jpeg(image, data)
    image.load()
    shown = formats.visible_tiff(image)
    return shown if factor == 1 else _to_rgb(shown).reduce(factor)


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Show transparency over white and 16-bit greys by their upper byte.

    An RGB image is not copied, and others are converted in bands.
    """
    if image.mode.startswith("I;16"):
        image.info.pop("transparency", None)  # one 16-bit level, which the 8-bit image lost
        image = PIL.Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgb = PIL.Image.new("RGB", image.size)
        for box in _bands(image.size):
            rgb.paste(_over_white(image.crop(box)), box)
    else:
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    rgb.info = {}  # profiles and comments are no part of the image
    return rgb


def _over_white(band: PIL.Image.Image) -> PIL.Image.Image:
    band = band.convert("RGBA")
    page = PIL.Image.new("RGBA", band.size, "white")
    return PIL.Image.alpha_composite(page, band).convert("RGB")


def _bands(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Cut an image of (width, height) into boxes of whole rows, from top to bottom."""
    width, height = size
    rows = max(1, _BAND_PIXELS // width)
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
