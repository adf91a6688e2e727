"""Thumbnail: a small JPEG of an image as a data URI, for pages that stand alone."""

import base64
import io

import PIL.Image

_QUALITY = 82


def thumbnail_uri(image: PIL.Image.Image, largest: int) -> str:
    """Return an upright image, its longer side at most `largest` pixels, over white."""
    small = image.copy()
    small.thumbnail((largest, largest))
    rgba = small.convert("RGBA")
    flat = PIL.Image.new("RGB", rgba.size, "white")
    flat.paste(rgba, mask=rgba.getchannel("A"))
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
