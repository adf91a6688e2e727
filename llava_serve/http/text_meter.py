"""Text meter: the bytes of a JSON body that are neither image nor video, counted as they arrive."""

import re

from llava_serve.errors import TextTooLarge
from llava_serve.protocol.error_shape import MESSAGES_PATH, OLLAMA_PATH

# What carries images and videos in JSON: `"url": "data:…"`, also under the name `image_url`. Within
# a string of JSON the quotes would have backslashes before them. In front of `data:` may stand what
# `media.fetch` takes away: white space and byte-order marks, raw or escaped.
_MEDIA_URL = rb'"(?:image_)?url"\s*:\s*"(?:\s|\xef\xbb\xbf|\\u[fF][eE][fF][fF]|\\[nrt])*(?i:data):'
_URLS = re.compile(_MEDIA_URL)
# Anthropic's `"data": "…"` is base64, if it is what it should be.
_ANTHROPIC_MEDIA = re.compile(_MEDIA_URL + rb'|"data"\s*:\s*"')
# LLaVA's and Ollama's `"images": ["…", …]`; elsewhere that may be a list of any text.
_IMAGES = re.compile(rb'"images"\s*:\s*\[')
_WITH_IMAGES = ("/worker_generate_stream", f"{OLLAMA_PATH}/chat", f"{OLLAMA_PATH}/generate")
_MOST_IMAGES = 1000
_TAIL_BYTES = 64  # a beginning of an image that is longer, of spaces, counts as text


class TextMeter:
    """Counts what of a JSON body is neither image nor video, chunk by chunk as it arrives."""

    def __init__(self, limit_bytes: int, path: str) -> None:
        """Take what carries media in the protocol of `path` for that."""
        self._limit_bytes = limit_bytes
        self._opening = _opening_of(path)
        self._received = 0
        self._media = 0
        self._items = 0  # of the list of images that it is in
        self._ends_with = b""  # what ends the image, or the list, that it is in
        self._tail = b""  # of the chunk before, where an image may have begun

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            TextTooLarge: there is more text than the limit, whatever comes.
        """
        self._received += len(chunk)
        data, at, text_from = self._tail + chunk, 0, 0
        while at < len(data):
            if self._ends_with:
                at = text_from = self._pass_media(data, at)
            else:
                at = self._pass_text(data, at)
        self._tail = b"" if self._ends_with else data[max(text_from, len(data) - _TAIL_BYTES) :]
        if self._received - self._media > self._limit_bytes or self._items > _MOST_IMAGES:
            raise TextTooLarge(self._received - self._media, self._limit_bytes)

    def _pass_text(self, data: bytes, at: int) -> int:
        if (found := self._opening.search(data, at)) is None:
            return len(data)
        self._items = 0
        self._ends_with = b"]" if found[0].endswith(b"[") else b'"'
        return found.end()

    def _pass_media(self, data: bytes, at: int) -> int:
        end = data.find(self._ends_with, at)
        stop = len(data) if end < 0 else end
        self._media += stop - at
        if self._ends_with == b"]":
            self._items += data.count(b",", at, stop)
        if end >= 0:
            self._ends_with = b""
        return stop


def _opening_of(path: str) -> re.Pattern[bytes]:
    """Return what begins an image or a video on a route."""
    if path.endswith(_WITH_IMAGES):
        return _IMAGES
    return _ANTHROPIC_MEDIA if path.startswith(MESSAGES_PATH) else _URLS
