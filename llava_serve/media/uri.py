"""Bytes out of a `data:` URI, as browsers and programs write them, measured before decoding."""

import base64
import binascii
from urllib.parse import unquote_to_bytes

from llava_serve.errors import MediaUnreadable
from llava_serve.media.limits import check_bytes

_WHITESPACE = b" \t\r\n\f\v"  # base64 from a shell comes wrapped in lines
_BEFORE = "\ufeff \t\r\n\f\v"  # what copying and text files leave in front
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def trimmed(url: str) -> str:
    """Take off the white space around an address, and the mark that text files begin with."""
    return url.strip(_BEFORE)


def is_data_uri(url: str) -> bool:
    return url[:5].lower() == "data:"


def read_data_uri(uri: str, limit_bytes: int) -> bytes:
    """Decode `data:[type][;base64],content`; the declared type is not trusted, nor needed.

    `base64` may stand anywhere among the parameters. Base64 may be of the alphabet for URLs, come
    in lines, percent-encoded, or without its padding.

    Raises:
        MediaUnreadable: no comma, or no valid base64.
        MediaTooLarge: more than `limit_bytes`.
    """
    head, comma, content = uri.partition(",")
    if not comma:
        raise MediaUnreadable("the data: URI has no comma, so it has no content")
    data = unquote_to_bytes(content)
    if "base64" in (word.strip().lower() for word in head.split(";")[1:]):
        data = _from_base64(data, limit_bytes)
    check_bytes(len(data), limit_bytes)
    return data


def _from_base64(text: bytes, limit_bytes: int) -> bytes:
    text = text.translate(_URL_SAFE, _WHITESPACE).rstrip(b"=")
    check_bytes(len(text) * 3 // 4 - 2, limit_bytes)
    if len(text) % 4 == 1:
        raise MediaUnreadable(
            f"its content is not valid base64: {len(text)} characters are no whole number of "
            "bytes, so one or more are missing"
        )
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as exc:
        raise MediaUnreadable(f"its content is not valid base64 ({exc})") from exc
