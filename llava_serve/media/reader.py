"""Media of a request become images and videos: fetched, decoded off the event loop, bounded."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from llava_serve.config import MediaConfig
from llava_serve.errors import InvalidField, MediaTooLarge, MediaUnreadable, RemoteMediaRefused
from llava_serve.media.decode import decode_image, image_cost
from llava_serve.media.fetch import (
    Fetcher,
    IsAllowed,
    is_data_uri,
    is_public,
    read_data_uri,
    trimmed,
)
from llava_serve.media.limits import (
    Clock,
    Cost,
    DecoderPool,
    FileLimits,
    PixelQuota,
    PixelReservation,
)
from llava_serve.media.video import decode_video, video_cost
from llava_serve.protocol.content_part import ImagePart, TextPart, VideoPart
from llava_serve.protocol.openai import ChatMessage
from llava_serve.quota import Quota
from llava_serve.request import Conversation, Image, Message, ReadyPrompt, Role, Video
from llava_serve.tools import ToolCall

_FETCHED_FILES = 16  # of the largest size, from web addresses, in memory at once

Decoded = TypeVar("Decoded", bound=Image | Video, covariant=True)


@dataclass(frozen=True, slots=True)
class _MediaItem(Generic[Decoded]):
    """An image or a video to be read: what its bytes cost to decode, and how to."""

    kind: str
    url: str
    cost: Callable[[bytes], Cost]
    decode: Callable[[bytes, Clock], Decoded]


class MediaReader:
    """Reads images and videos under one set of limits.

    An `async with` holds its threads and connections. `is_allowed` says which network addresses
    may be connected to when `config.allow_remote_media` is set.
    """

    def __init__(self, config: MediaConfig, is_allowed: IsAllowed = is_public) -> None:
        self._config = config
        self.pixels = PixelQuota(int(config.max_megapixels_in_flight * 1e6))
        self._limits = FileLimits(
            int(config.max_image_mb * 1e6), int(config.max_image_megapixels * 1e6)
        )
        self._fetcher = Fetcher(self._limits.file_bytes, is_allowed)
        self._fetched = Quota(_FETCHED_FILES * self._limits.file_bytes)

    async def __aenter__(self) -> "MediaReader":
        self._pool = DecoderPool()
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._fetcher.__aexit__(*error)
        await self._pool.close()

    @asynccontextmanager
    async def reservation(self) -> AsyncIterator[PixelReservation]:
        """Hold the pixels of one request while the body uses its images and videos."""
        reservation = PixelReservation(self.pixels)
        try:
            yield reservation
        finally:
            reservation.shrink(0)

    async def conversation(
        self, messages: Sequence[ChatMessage], reservation: PixelReservation
    ) -> Conversation:
        """Decode every part of the messages, in order, once there is room for all of them.

        Raises:
            BadRequest: a part cannot be read; the message says which one it is.
        """
        parts = [part for said in messages for part in said.parts()]
        items = [self._item(part) for part in parts if not isinstance(part, TextPart)]
        self._check_count("messages", len(items))
        media = iter(await self._media(items, reservation))
        read = []
        for said in messages:
            role: Role = "system" if said.role == "developer" else said.role
            shown = (
                part.text if isinstance(part, TextPart) else next(media) for part in said.parts()
            )
            calls = (
                ToolCall(call.id, call.function.name, call.function.values)
                for call in said.tool_calls or ()
            )
            read.append(Message(role, tuple(shown), tuple(calls), said.tool_call_id))
        return Conversation(tuple(read))

    async def ready_prompt(
        self, text: str, images: Sequence[str], reservation: PixelReservation
    ) -> ReadyPrompt:
        """Decode the base64 strings or data: URIs that stand beside a prompt of LLaVA's wire.

        Raises:
            BadRequest: an image cannot be read.
        """
        self._check_count("images", len(images))
        bare = [trimmed(image) for image in images]
        urls = [image if is_data_uri(image) else f"data:;base64,{image}" for image in bare]
        return ReadyPrompt(text, await self._media([self._image(url) for url in urls], reservation))

    async def image(self, url: str) -> Image:
        """Read the image behind a data: URI or an http(s) address."""
        return await self._alone(self._image(url), await self._bytes(url))

    async def image_file(self, url: str) -> bytes:
        """Return the file behind a data: URI or an http(s) address, once it was read as an image.

        Raises:
            BadRequest: it cannot be fetched, is no image, or is too large.
        """
        data = await self._bytes(url)
        await self._alone(self._image(url), data)
        return data

    async def video(self, url: str, num_frames: int | None = None) -> Video:
        """Read the video behind a data: URI or an http(s) address."""
        return await self._alone(self._video(url, num_frames), await self._bytes(url))

    def _item(self, part: ImagePart | VideoPart) -> _MediaItem[Image | Video]:
        if isinstance(part, ImagePart):
            return self._image(part.image_url.url, is_coarse=part.image_url.detail == "low")
        return self._video(part.video_url.url, part.video_url.num_frames)

    def _image(self, url: str, *, is_coarse: bool = False) -> _MediaItem[Image]:
        return _MediaItem(
            "picture",
            url,
            lambda data: image_cost(data, self._limits),
            lambda data, _: replace(decode_image(data, self._limits), is_coarse=is_coarse),
        )

    def _video(self, url: str, num_frames: int | None) -> _MediaItem[Video]:
        frames = self._frames(num_frames)
        return _MediaItem(
            "video",
            url,
            lambda data: video_cost(data, frames, self._limits),
            lambda data, clock: decode_video(data, frames, self._limits, clock),
        )

    async def _alone(self, item: _MediaItem[Decoded], data: bytes) -> Decoded:
        async with self.reservation() as reservation:
            await reservation.acquire([cost := await self._cost(item, data)])
            return await self._pool.run(partial(item.decode, data), cost.is_slow)

    async def _media(
        self, items: Sequence[_MediaItem[Decoded]], reservation: PixelReservation
    ) -> tuple[Decoded, ...]:
        """Fetch all, wait until there is room for all, then decode one after the other."""
        remote = sum(not is_data_uri(trimmed(one.url)) for one in items)
        async with self._fetched.part(remote * self._limits.file_bytes):
            return await self._decoded(items, reservation)

    async def _decoded(
        self, items: Sequence[_MediaItem[Decoded]], reservation: PixelReservation
    ) -> tuple[Decoded, ...]:
        files, costs = [], []
        for number, one in enumerate(items, 1):
            with _naming(one.kind, number):
                files.append(await self._bytes(one.url))
                costs.append(await self._cost(one, files[-1]))
        await reservation.acquire(costs)
        media: list[Decoded] = []
        for number, (one, cost) in enumerate(zip(items, costs, strict=True), 1):
            with _naming(one.kind, number):
                decode = partial(one.decode, files.pop(0))
                media.append(await self._pool.run(decode, cost.is_slow))
                self._check_pixels(media)
        reservation.shrink(_pixels(media))
        return tuple(media)

    async def _cost(self, item: _MediaItem[Image | Video], data: bytes) -> Cost:
        return await self._pool.run(lambda _: item.cost(data), is_slow=item.kind == "video")

    async def _bytes(self, url: str) -> bytes:
        url = trimmed(url)
        if is_data_uri(url):
            return await self._pool.run(lambda _: read_data_uri(url, self._limits.file_bytes))
        if not url.lower().startswith(("http://", "https://")):
            raise RemoteMediaRefused(
                f"only data: URIs and http(s) addresses are read, not {url[:40]!r}"
            )
        if not self._config.allow_remote_media:
            raise RemoteMediaRefused("this worker does not fetch web addresses")
        return await self._fetcher.fetch(url)

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

    def _check_pixels(self, media: Sequence[Image | Video]) -> None:
        """Check what one request has so far: a request may have what the whole process may."""
        if (pixels := _pixels(media)) > self.pixels.total:
            raise MediaTooLarge(
                f"with it the request has {pixels / 1e6:g} megapixels in all; at most "
                f"{self.pixels.total / 1e6:g} are accepted (--max-megapixels-in-flight)"
            )


@contextmanager
def _naming(kind: str, number: int) -> Iterator[None]:
    """Say in an error which of a request's media it is about."""
    try:
        yield
    except (MediaUnreadable, MediaTooLarge, RemoteMediaRefused) as exc:
        raise type(exc)(f"{kind} {number} of the request: {exc}") from exc


def _pixels(media: Sequence[Image | Video]) -> int:
    frames = [
        frame for one in media for frame in ((one,) if isinstance(one, Image) else one.frames)
    ]
    return sum(frame.image.width * frame.image.height for frame in frames)
