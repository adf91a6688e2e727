"""Published files: what a file shows to strangers, without what it tells beside it.

Cameras write place, time and the device into their files, and programs the names of people.
"""

import io
import struct
from collections.abc import Iterator

from PIL import Image, ImageCms

from llava_serve.errors import MediaUnreadable
from llava_serve.media.damage import DAMAGE, damaged
from llava_serve.media.decode import decode_image
from llava_serve.media.limits import FileLimits
from llava_serve.storage.filetypes import BY_FORMAT, FileType
from llava_serve.storage.remuxing import remuxed
from llava_serve.storage.rendition import LIMIT_PIXELS, one_at_a_time

_LOSSLESS = (BY_FORMAT["PNG"], BY_FORMAT["GIF"], BY_FORMAT["BMP"])
_QUALITY = 92
_UNUSABLE: tuple[type[Exception], ...] = (*DAMAGE, ImageCms.PyCMSError)
# Source: GIF89a, sections 23 to 26: graphic control; the two that say how often it plays.
_GIF_CONTROL, _GIF_APPLICATION = 0xF9, 0xFF
_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
# Source: RFC 9649, section 2.7.
_WEBP_SHOWN = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP")
_WEBP_EXIF_AND_XMP = 0b1100


def published(data: bytes, filetype: FileType) -> tuple[bytes, str]:
    """Return what a browser shows of a file that it can show, and the MIME type of that.

    A still image is drawn anew, upright. Of what moves only what is shown is copied.

    Raises:
        MediaUnreadable: it cannot be read.
        MediaTooLarge: it has more pixels than images may have where no flag says otherwise.
    """
    try:
        if filetype.needs_player:
            return remuxed(data, filetype), filetype.mime
        if filetype.kind == "video":
            parts = _gif_parts(data) if filetype.extension == "gif" else _webp_parts(data)
            return b"".join(parts), filetype.mime
    except DAMAGE as exc:
        raise damaged("the file", exc) from exc
    return _drawn(data, is_lossless=filetype in _LOSSLESS)


def _drawn(data: bytes, *, is_lossless: bool) -> tuple[bytes, str]:
    out = io.BytesIO()
    with one_at_a_time:
        image = _in_srgb(decode_image(data, FileLimits(len(data), LIMIT_PIXELS)).image, data)
        if is_lossless:
            image.save(out, "PNG")
            return out.getvalue(), BY_FORMAT["PNG"].mime
        image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue(), BY_FORMAT["JPEG"].mime


def _in_srgb(image: Image.Image, data: bytes) -> Image.Image:
    """Apply the colour profile of a file to its image, which goes without one."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            profile = opened.info.get("icc_profile")
            if not profile or opened.mode not in ("RGB", "RGBA"):
                return image
        of_file = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        ImageCms.profileToProfile(image, of_file, srgb, inPlace=True)
    except _UNUSABLE:  # browsers do without a profile that is damaged
        pass
    image.info = {}
    return image


def _gif_parts(data: bytes) -> Iterator[bytes]:
    """Yield a GIF without comments, texts and what applications have written into it."""
    at = 13 + _gif_colours(data[10])
    yield data[:at]
    while data[at] != 0x3B:  # the end
        if data[at] == 0x2C:  # an image
            head = at + 10 + _gif_colours(data[at + 9]) + 1
            end = _gif_blocks_end(data, head)
            yield data[at:end]
        elif data[at] == 0x21:  # an extension
            end = _gif_blocks_end(data, at + 2)
            is_loop = data[at + 1] == _GIF_APPLICATION and data[at + 3 : at + 14] in _GIF_LOOPS
            if data[at + 1] == _GIF_CONTROL or is_loop:
                yield data[at:end]
        else:
            raise MediaUnreadable("the GIF file has a block of no known kind")
        at = end
    yield b"\x3b"


def _gif_colours(flags: int) -> int:
    """Return the bytes of a colour table, which may be missing."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _gif_blocks_end(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _webp_parts(data: bytes) -> Iterator[bytes]:
    """Yield a WebP file without its EXIF, its XMP and chunks of no known kind."""
    chunks = [*_webp_chunks(data)]
    yield b"RIFF" + struct.pack("<I", 4 + sum(map(len, chunks))) + b"WEBP"
    yield from chunks


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        end = at + 8 + size + size % 2
        chunk = data[at:end]
        if name == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_EXIF_AND_XMP]) + chunk[9:]
        if name in _WEBP_SHOWN:
            yield chunk
        at = end
