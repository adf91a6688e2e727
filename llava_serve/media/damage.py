"""Damaged files: what decoders raise on them, and what of it a user can make sense of."""

import struct
import zlib

from av.error import FFmpegError
from PIL import Image, UnidentifiedImageError

from llava_serve.errors import MediaUnreadable

BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's and FFmpeg's decoders raise on damaged files.
DAMAGE: tuple[type[Exception], ...] = (
    *BOMB,
    FFmpegError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
# These are said about the file; the words of the others are about the decoder's own code.
_TOLD = (FFmpegError, OSError, SyntaxError, RuntimeError, *BOMB)


def damaged(named: str, exc: Exception) -> MediaUnreadable:
    """Return the error that says `named` is damaged, with the decoder's reason where it is one."""
    text = (exc.strerror or "") if isinstance(exc, FFmpegError) else str(exc).strip()
    told = isinstance(exc, _TOLD) and not isinstance(exc, UnidentifiedImageError) and text
    return MediaUnreadable(f"{named} is damaged or cut short" + (f" ({text})" if told else ""))
