"""Bytes out of a `data:` URI: strict, and measured before base64 is decoded."""

import base64
import binascii
from urllib.parse import unquote_to_bytes

from llava_serve.errors import MediaUnreadable
from llava_serve.media.decode import check_bytes

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
    data = unquote_to_bytes(content)
    if head.lower().endswith(";base64"):
        data = data.translate(None, _WHITESPACE)
        check_bytes(len(data) * 3 // 4 - 2, limit_bytes)
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as exc:
            raise MediaUnreadable(f"its content is not valid base64 ({exc})") from exc
    check_bytes(len(data), limit_bytes)
    return data
