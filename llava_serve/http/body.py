"""Bodies of requests: bounded before they are read, late ones refused, JSON read from the rest.

Three bounds, each checked before the work that it bounds: the bytes of a body, the bytes of all
bodies that the process holds, and the bytes of a body that are no image or video. The last is
counted on the raw bytes as they arrive, so of a text that is far too long no more is read.
"""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import anyio
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve.errors import BodyTimeout, BodyTooLarge, NoRoomForBody, TextTooLarge
from llava_serve.http import heap, json_body
from llava_serve.http.text_meter import TextMeter
from llava_serve.quota import Quota

Read = TypeVar("Read")
Given = ParamSpec("Given")

MAX_TEXT_BYTES = 1_000_000
_SMALL_BYTES = 1_000_000  # smaller bodies wait for no quota
_BODIES_AT_ONCE = 8  # of the largest size

_UPLOADS = "/v1/files"
_UPLOAD_BODIES = 4  # of the largest size: one upload, which lies on disk
_MEDIA_ROUTES = (
    *("/v1/chat/completions", "/v1/inspect", "/tokenize", "/worker_generate_stream"),
    *("/v1/messages", "/v1/messages/count_tokens", "/v1/responses", _UPLOADS),
    *("/api/chat", "/api/generate"),
    *("/gradio_api/upload", "/conversations/import", "/folders/image", "/pdf/pages"),  # the page's
)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may be, and how it has to arrive.

    `max_text_bytes` bounds JSON without its images and videos, and so the whole body of every
    route that takes none. A body is late after `gap_s` without a byte, or once it has taken
    `patience_s` and what came of it more time than at `least_bytes_per_s`. A large one waits
    `wait_s` at most for its part of the memory, of which one address gets no more than half.
    """

    max_bytes: int
    max_text_bytes: int = MAX_TEXT_BYTES
    gap_s: float = 15.0
    patience_s: float = 30.0
    least_bytes_per_s: float = 100_000.0
    wait_s: float = 30.0
    held: Quota = field(init=False)
    held_by: WeakValueDictionary[str, Quota] = field(  # one address each
        default_factory=WeakValueDictionary, init=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", Quota(_BODIES_AT_ONCE * self.max_bytes))

    def of_path(self, path: str) -> int:
        """Return how large a body may be there."""
        if path == _UPLOADS:
            return _UPLOAD_BODIES * self.max_bytes
        return self.max_bytes if path.endswith(_MEDIA_ROUTES) else self.max_text_bytes

    def quota_of(self, address: str) -> Quota:
        """Return what the bodies of one address may take together."""
        return self.held_by.setdefault(address, Quota(self.held.total // 2))


class BoundedBody:
    """Middleware: a body arrives within its limits, or its reader is told why not.

    A large body first waits for its part of what all bodies may take together, and keeps that
    until the request has ended or `release_body` is called.
    """

    def __init__(
        self, app: ASGIApp, limits: BodyLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._limits = limits
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrival = _Arrival(self._limits, scope, receive, self._clock)
        scope["llava_serve.arrival"] = arrival
        try:
            await self._app(scope, arrival.receive, send)
        finally:
            arrival.end()
            del scope["llava_serve.arrival"]  # or both would be garbage in a circle


class _Arrival:
    """The body of one request on its way in."""

    def __init__(
        self,
        limits: BodyLimits,
        scope: Scope,
        receive: Receive,
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        self._takes_media = scope["path"].endswith(_MEDIA_ROUTES)
        self._limit_bytes = limits.of_path(scope["path"])
        self._declared_bytes = _declared_bytes(scope)
        client = scope.get("client")
        self._quotas = (limits.quota_of(client[0] if client else ""), limits.held)
        self._receive = receive
        self._clock = clock
        self._received_bytes = 0
        self._held_bytes = 0
        self._began_at: float | None = None
        self._is_complete = False

    async def receive(self) -> Message:
        """Return the next message of the client.

        Raises:
            BodyTooLarge, TextTooLarge: before anything is read, where the length was declared.
            NoRoomForBody: too many others take the memory for too long.
            BodyTimeout: the body is late.
        """
        if self._is_complete:
            return await self._receive()
        if self._began_at is None:
            await self._begin()
        message = await self._next()
        self._received_bytes += len(message.get("body", b""))
        self._check(self._received_bytes)
        self._is_complete = not message.get("more_body", False)
        if self._is_complete:
            self._hold_no_more_than(self._received_bytes)
        return message

    def end(self) -> None:
        """End with the request: nobody holds the body any more, unless a circle does."""
        self.release()
        if self._received_bytes > _SMALL_BYTES:
            heap.collect_young()

    def release(self) -> None:
        """Give back the quota of a body that nobody holds any more."""
        self._hold_no_more_than(0)

    def _hold_no_more_than(self, size_bytes: int) -> None:
        surplus = self._held_bytes - size_bytes
        if surplus > 0:
            self._held_bytes = size_bytes
            for quota in self._quotas:
                quota.release(surplus)

    async def grow(self, more_bytes: int) -> None:
        """Hold so many bytes more than have come, which the body becomes.

        Raises:
            BodyTooLarge: it becomes larger than a body may be.
            NoRoomForBody: as `receive`.
        """
        self._check(self._received_bytes + more_bytes)
        if more_bytes > _SMALL_BYTES:
            await self._acquire(more_bytes)

    async def _begin(self) -> None:
        self._check(self._declared_bytes or 0)
        size = self._limit_bytes if self._declared_bytes is None else self._declared_bytes
        if size > _SMALL_BYTES:
            await self._acquire(size)
        self._began_at = self._clock()

    async def _acquire(self, size_bytes: int) -> None:
        own, all_together = self._quotas
        try:
            with anyio.fail_after(self.limits.wait_s):
                await own.acquire(size_bytes)
                try:
                    await all_together.acquire(size_bytes)
                except BaseException:
                    own.release(size_bytes)
                    raise
        except TimeoutError:
            raise NoRoomForBody(size_bytes) from None
        self._held_bytes += size_bytes

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            if self._takes_media:
                raise BodyTooLarge(self._limit_bytes)
            raise TextTooLarge(size_bytes, self._limit_bytes)

    async def _next(self) -> Message:
        began_at = self._began_at or 0.0
        limits = self.limits
        allowed_s = limits.patience_s + self._received_bytes / limits.least_bytes_per_s
        latest = began_at + allowed_s
        left_s = min(limits.gap_s, latest - self._clock())
        try:
            async with asyncio.timeout(max(left_s, 0)):  # anyio's costs three times as much
                return await self._receive()
        except TimeoutError:
            raise BodyTimeout(self._received_bytes, self._clock() - began_at) from None


def release_body(request: Request) -> None:
    """Say that the body of `request` is not held any more, so that another may come in."""
    request.scope["llava_serve.arrival"].release()


async def grow_body(request: Request, more_bytes: int) -> None:
    """Hold so many bytes more for what the body of `request` becomes; see `_Arrival.grow`."""
    await request.scope["llava_serve.arrival"].grow(more_bytes)


def read_once(
    request: Request, read: Callable[Given, Awaitable[Read]]
) -> Callable[Given, Awaitable[Read]]:
    """Wrap `read`, which makes something else of the body of `request` and holds it until then."""
    reading: list[Callable[Given, Awaitable[Read]]] = [read]

    async def read_and_release(*args: Given.args, **kwargs: Given.kwargs) -> Read:
        try:
            return await reading.pop()(*args, **kwargs)
        finally:
            release_body(request)

    return read_and_release


def _declared_bytes(scope: Scope) -> int | None:
    """Return what the head says of the body's length; None where it comes in chunks."""
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        return None
    try:
        return int(headers.get("content-length", "0"))
    except ValueError:  # more digits than Python converts
        return 10**18


def limits_of(request: Request) -> BodyLimits:
    """Return the limits of the app that serves `request`."""
    limits: BodyLimits = request.scope["llava_serve.arrival"].limits
    return limits


async def read_json(request: Request) -> tuple[Any, bytes]:
    """Return the request's decoded body, and the body as it came.

    Raises:
        NotJson: the body is not JSON that can be read.
        BodyTooLarge, BodyTimeout, TextTooLarge: it is beyond the app's limits.
    """
    meter = TextMeter(limits_of(request).max_text_bytes, request.scope["path"])
    buffer = io.BytesIO()
    async for chunk in request.stream():
        meter.feed(chunk)
        buffer.write(chunk)
    body = buffer.getvalue()  # no copy
    return json_body.decode(body), body
