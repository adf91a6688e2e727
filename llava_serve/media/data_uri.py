"""Data URI of an image or a video: the file's own bytes, under the type that they show."""

import base64

from llava_serve.media.sniff import VIDEOS, sniff


def data_uri(data: bytes) -> str:
    """Return a file as a data: URI; what the receiver cannot read, it refuses by content."""
    kind = sniff(data)
    mime = f"{'video' if kind in VIDEOS else 'image'}/{kind.lower()}"
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
