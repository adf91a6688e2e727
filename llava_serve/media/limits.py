"""Limits on media: bytes and pixels of one file, pixels of all requests, threads that decode."""

import asyncio
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from llava_serve.errors import MediaTooLarge
from llava_serve.quota import Quota

MAX_SIDE = 20_000  # pixels; beyond it resizing alone costs more than an answer
MAX_RATIO = 100  # longer to shorter side; beyond it the shorter side vanishes when resized


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Largest file in bytes, largest image in pixels."""

    file_bytes: int
    pixels: int


def check_bytes(size: int, limit_bytes: int) -> None:
    """Check the size of a file. Raises: MediaTooLarge."""
    if size > limit_bytes:
        raise MediaTooLarge(
            f"the file has {size / 1e6:.1f} MB; at most {limit_bytes / 1e6:g} MB are accepted "
            "(--max-image-mb)"
        )


def check_size(size: tuple[int, int], limits: FileLimits) -> None:
    """Check (width, height).

    Raises:
        MediaTooLarge: too many pixels, too long a side, or too thin an image.
    """
    width, height = size
    named = f"the picture has {width} x {height} pixels"
    if width * height > limits.pixels:
        raise MediaTooLarge(
            f"{named}; at most {limits.pixels / 1e6:g} megapixels are accepted "
            "(--max-image-megapixels)"
        )
    if max(size) > MAX_SIDE:
        raise MediaTooLarge(f"{named}; a side may have at most {MAX_SIDE}")
    if max(size) > MAX_RATIO * min(size):
        raise MediaTooLarge(
            f"{named}; the longer side may be at most {MAX_RATIO} times the shorter one"
        )


LARGE_PIXELS = 16_000_000  # more than most phones make of one photograph


@dataclass(frozen=True, slots=True)
class Cost:
    """Pixels of one image or video: that stay, and that there are while it is decoded.

    `is_slow` says that ordinary images must not wait while it is decoded.
    """

    kept: int
    decoding: int
    is_slow: bool


class PixelQuota(Quota):
    """Pixels of all requests together; those that take many or are slow leave a quarter."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.large = Quota(total * 3 // 4)


class PixelReservation:
    """Made by `MediaReader.reservation`; holds nothing before `acquire`."""

    def __init__(self, quota: PixelQuota) -> None:
        self._quota = quota
        self._held: dict[Quota, int] = {}

    async def acquire(self, costs: list[Cost]) -> None:
        """Wait for room for media that are decoded one after the other.

        All of a request's media are taken together and once: requests that held some pixels and
        waited for more would wait for each other.
        """
        kept = sum(cost.kept for cost in costs)
        most = kept + max((cost.decoding - cost.kept for cost in costs), default=0)
        if not most:
            return
        is_large = most > LARGE_PIXELS or any(cost.is_slow for cost in costs)
        for quota in (self._quota.large, self._quota) if is_large else (self._quota,):
            await quota.acquire(most)
            self._held[quota] = most

    def shrink(self, pixels: int) -> None:
        """Give back what is held beyond `pixels`."""
        for quota, held in self._held.items():
            if pixels < held:
                quota.release(held - pixels)
                self._held[quota] = pixels


Clock = Callable[[], float]
Result = TypeVar("Result")


_SLOW_NICENESS = 10  # the engine and ordinary images come first


class DecoderPool:
    """Threads for ordinary media, and fewer of lower priority for slow ones: see `Cost`."""

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(min(4, cores), thread_name_prefix="media")
        self._slow = ThreadPoolExecutor(
            max(1, min(4, cores) - 1), thread_name_prefix="slow-media", initializer=give_way
        )

    async def close(self) -> None:
        for pool in (self._pool, self._slow):
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def run(self, work: Callable[[Clock], Result], is_slow: bool = False) -> Result:
        """Run `work` and return its result or raise what it raises.

        Its memory is in use until it ends, so a cancelled caller waits for that. The clock it gets
        is monotonic, and far beyond every deadline once nobody wants the result any more.
        """
        left = threading.Event()
        decoding = (self._slow if is_slow else self._pool).submit(
            work, lambda: math.inf if left.is_set() else time.monotonic()
        )
        waiting = asyncio.wrap_future(decoding)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            left.set()
            if not decoding.cancel():
                while not waiting.done():
                    with suppress(asyncio.CancelledError):  # told twice to leave
                        await asyncio.wait([waiting])
                waiting.exception()  # seen: nobody waits for it any more
            raise


def give_way() -> None:
    """Lower the priority of this thread alone, which Linux can do."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may refuse it
            os.nice(_SLOW_NICENESS)
