"""Image digests: which pictures a request brings, by the SHA-256 of the files as they were sent."""

import asyncio
import binascii
import hashlib
from collections.abc import Iterable

from llava_serve.protocol.content_part import ImagePart, VideoPart
from llava_serve.protocol.openai import ChatRequest

_SHORT = 100_000  # characters that are hashed faster than a thread takes over


async def digests(sources: Iterable[object]) -> tuple[str, ...]:
    """Return the digest of each file that a request holds itself, in its order.

    A source is base64 or a `data:` URL; what has to be fetched from elsewhere has none.
    """
    found = []
    for source in sources:
        if not isinstance(source, str):
            continue  # the worker will say so
        is_short = len(source) < _SHORT
        found.append(_digest(source) if is_short else await asyncio.to_thread(_digest, source))
    return tuple(filter(None, found))


def sources_of(chat: ChatRequest) -> list[str]:
    """Return the pictures and videos of a request, as they stand in it."""
    found = []
    for message in chat.messages:
        for part in message.parts():
            if isinstance(part, ImagePart):
                found.append(part.image_url.url)
            elif isinstance(part, VideoPart):
                found.append(part.video_url.url)
    return found


def _digest(source: str) -> str | None:
    head, comma, rest = source.partition(",")
    if comma and not head.startswith("data:"):
        return None
    encoded = rest if comma else source
    try:
        return hashlib.sha256(binascii.a2b_base64(encoded)).hexdigest()
    except (ValueError, binascii.Error):
        return None
