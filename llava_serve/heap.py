"""The heap of a process: memory that large requests have freed goes back to the system.

glibc keeps what is freed for later, in every thread's arena: after a burst of large bodies and
pictures a process would hold its highest demand for ever. Elsewhere nothing is done.
"""

import asyncio
import ctypes
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psutil

from llava_serve import logs

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
_GROWN = 1.05  # times what it was when something was last given back


@asynccontextmanager
async def trimmed(every_s: float = LOOK_EVERY_S) -> AsyncIterator[None]:
    """Give freed memory back while the body runs, whenever the process has grown."""
    trim = _malloc_trim()
    if trim is None:
        yield
        return
    least = psutil.Process().memory_info().rss
    trimming = asyncio.create_task(_keep_trimming(trim, every_s, least), name="heap")
    trimming.add_done_callback(logs.log_a_bug)
    try:
        yield
    finally:
        trimming.cancel()
        await asyncio.wait([trimming])


async def _keep_trimming(trim: Callable[[int], int], every_s: float, least: int) -> None:
    process = psutil.Process()
    while True:
        await asyncio.sleep(every_s)
        used = process.memory_info().rss
        if used > _GROWN * least:
            await asyncio.to_thread(trim, 0)
            least = process.memory_info().rss
            logger.debug("gave %d MB of freed memory back", (used - least) / 1e6)
        least = min(least, used)


def _malloc_trim() -> Callable[[int], int] | None:
    with suppress(OSError, AttributeError):  # another system, or another C library
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
        return trim
    return None
