"""Media of a request become pictures and clips: fetched, decoded off the event loop, bounded."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from llava_serve.config import MediaConfig
from llava_serve.engines.base import Conversation, Message, ReadyPrompt, Role
from llava_serve.errors import (
    InvalidField,
    MediaTooLarge,
    MediaUnreadable,
    RemoteMediaRefused,
)
from llava_serve.media.address import IsAllowed, is_public
from llava_serve.media.base import Clip, Picture
from llava_serve.media.decode import decode_picture
from llava_serve.media.fetch import Fetcher
from llava_serve.media.limits import Limits
from llava_serve.media.uri import is_data_uri, read_data_uri, trimmed
from llava_serve.media.video import decode_clip
from llava_serve.protocol.openai import ChatMessage, ImagePart, TextPart, VideoPart

MAX_REQUEST_PIXELS = 300_000_000  # of all pictures and frames of one request: 0.9 GB in memory

Decoded = TypeVar("Decoded", Picture, Clip)


class MediaReader:
    """Reads pictures and videos under one set of limits.

    An `async with` holds its threads and connections. `is_allowed` says which network addresses
    may be connected to when `config.allow_remote_media` is set.
    """

    def __init__(
        self,
        config: MediaConfig,
        is_allowed: IsAllowed = is_public,
        request_pixels: int = MAX_REQUEST_PIXELS,
    ) -> None:
        self._config = config
        self._request_pixels = request_pixels
        self._limits = Limits(
            int(config.max_image_mb * 1e6), int(config.max_image_megapixels * 1e6)
        )
        self._fetcher = Fetcher(self._limits.file_bytes, is_allowed)

    async def __aenter__(self) -> "MediaReader":
        self._pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="media")
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._fetcher.__aexit__(kind, error, traceback)
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def conversation(self, messages: Sequence[ChatMessage]) -> Conversation:
        """Decode every part of the messages, in order.

        Raises:
            BadRequest: the first part that cannot be read; the message says which one it is.
        """
        media = [part for said in messages for part in said.parts() if part.type != "text"]
        self._check_count("messages", len(media))
        tally = _Tally(self._request_pixels)
        read = []
        for said in messages:
            role: Role = "system" if said.role == "developer" else said.role
            parts = [await self._part(part, tally) for part in said.parts()]
            read.append(Message(role, tuple(parts)))
        return Conversation(tuple(read))

    async def ready_prompt(self, text: str, images: Sequence[str]) -> ReadyPrompt:
        """Decode the base64 strings or data: URIs that stand beside a prompt of the old wire.

        Raises:
            BadRequest: the first picture that cannot be read.
        """
        self._check_count("images", len(images))
        tally = _Tally(self._request_pixels)
        pictures = []
        for image in images:
            uri = image if is_data_uri(trimmed(image)) else f"data:;base64,{image}"
            with tally.naming("picture"):
                pictures.append(tally.add(await self.picture(uri)))
        return ReadyPrompt(text, tuple(pictures))

    async def picture(self, url: str) -> Picture:
        """Read the picture behind a data: URI or an http(s) address."""
        return await self._read(url, lambda data: decode_picture(data, self._limits))

    async def clip(self, url: str, num_frames: int | None = None) -> Clip:
        """Read the video behind a data: URI or an http(s) address."""
        frames = self._frames(num_frames)
        return await self._read(url, lambda data: decode_clip(data, frames, self._limits))

    async def _part(
        self, part: TextPart | ImagePart | VideoPart, tally: "_Tally"
    ) -> str | Picture | Clip:
        if isinstance(part, TextPart):
            return part.text
        if isinstance(part, ImagePart):
            with tally.naming("picture"):
                return tally.add(await self.picture(part.image_url.url))
        with tally.naming("video"):
            return tally.add(await self.clip(part.video_url.url, part.video_url.num_frames))

    async def _read(self, url: str, decode: Callable[[bytes], Decoded]) -> Decoded:
        url = trimmed(url)
        if is_data_uri(url):
            limit = self._limits.file_bytes
            return await self._off_loop(lambda: decode(read_data_uri(url, limit)))
        if not url.lower().startswith(("http://", "https://")):
            raise RemoteMediaRefused(
                f"only data: URIs and http(s) addresses are read, not {url[:40]!r}"
            )
        if not self._config.allow_remote_media:
            raise RemoteMediaRefused("this worker does not fetch web addresses")
        data = await self._fetcher.fetch(url)
        return await self._off_loop(lambda: decode(data))

    async def _off_loop(self, work: Callable[[], Decoded]) -> Decoded:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _frames(self, asked: int | None) -> int:
        if asked is not None and asked > self._config.max_frames:
            raise InvalidField(
                "num_frames", f"{asked} frames; at most {self._config.max_frames} (--max-frames)"
            )
        return asked or self._config.num_frames

    def _check_count(self, field: str, media: int) -> None:
        if media > self._config.max_images:
            raise InvalidField(
                field,
                f"{media} pictures and videos; at most {self._config.max_images} are accepted in "
                "one request (--max-images)",
            )


class _Tally:
    """Numbers the media of one request in its errors, and adds up their pixels."""

    def __init__(self, limit_pixels: int) -> None:
        self._limit_pixels = limit_pixels
        self._number = 0
        self._pixels = 0

    @contextmanager
    def naming(self, kind: str) -> Iterator[None]:
        self._number += 1
        try:
            yield
        except (MediaUnreadable, MediaTooLarge, RemoteMediaRefused) as exc:
            raise type(exc)(f"{kind} {self._number} of the request: {exc}") from exc

    def add(self, decoded: Decoded) -> Decoded:
        pictures = (decoded,) if isinstance(decoded, Picture) else decoded.frames
        self._pixels += sum(picture.image.width * picture.image.height for picture in pictures)
        if self._pixels > self._limit_pixels:
            raise MediaTooLarge(
                f"with it the request has {self._pixels / 1e6:g} megapixels in all; at most "
                f"{self._limit_pixels / 1e6:g} are accepted"
            )
        return decoded
