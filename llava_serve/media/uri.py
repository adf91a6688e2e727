"""Bytes out of a `data:` URI or plain base64: strict, and measured before it is decoded."""

import base64
import binascii
from urllib.parse import unquote_to_bytes

from llava_serve.errors import MediaTooLarge, MediaUnreadable

_WHITESPACE = b" \t\r\n"  # base64 from a shell comes wrapped in lines


def read_data_uri(uri: str, limit_bytes: int) -> bytes:
    """Decode `data:[type][;base64],content`; the declared type is not trusted, nor needed.

    Raises:
        MediaUnreadable: no comma, or no valid base64.
        MediaTooLarge: more than `limit_bytes`.
    """
    head, comma, content = uri.partition(",")
    if not comma:
        raise MediaUnreadable("the data: URI has no comma, so it has no content")
    if head.lower().endswith(";base64"):
        return read_base64(unquote_to_bytes(content), limit_bytes)
    data = unquote_to_bytes(content)
    _check(len(data), limit_bytes)
    return data


def read_base64(content: str | bytes, limit_bytes: int) -> bytes:
    """Decode standard base64, white space allowed, anything else refused.

    Raises:
        MediaUnreadable: not base64.
        MediaTooLarge: more than `limit_bytes`.
    """
    try:
        raw = content.encode("ascii") if isinstance(content, str) else content
        raw = raw.translate(None, _WHITESPACE)
        _check(len(raw) * 3 // 4 - 2, limit_bytes)
        return base64.b64decode(raw, validate=True)
    except (UnicodeEncodeError, binascii.Error) as exc:
        raise MediaUnreadable(f"its content is not valid base64 ({_reason(exc)})") from exc


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeEncodeError):
        return "a character outside ASCII"
    return str(exc)


def _check(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise MediaTooLarge(
            f"the file has {size / 1e6:.1f} MB; at most {limit_bytes / 1e6:g} MB are accepted "
            "(--max-image-mb)"
        )
