"""The heap of a process: freed memory goes back to the system, and collections stay short.

glibc keeps what is freed for later, in every thread's arena: after a burst of large bodies and
images a process would hold its highest demand for ever. Elsewhere nothing is done about that.

Python's collector looks at every object that there is: a million of PyTorch's and transformers'
stop all threads for 0.3 s. Those that are there when serving begins stay, so it leaves them out.
"""

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from llava_serve.background import background

TRIM_EVERY_S = 5.0


@asynccontextmanager
async def trimmed(every_s: float = TRIM_EVERY_S) -> AsyncIterator[None]:
    """Give freed memory back again and again while the body runs.

    That takes microseconds where there is none, and some 40 ms for a gigabyte, on a thread.
    Objects made before are no longer looked at when garbage is collected.
    """
    gc.collect()
    gc.freeze()
    trim = _malloc_trim()
    if trim is None:
        yield
        return
    async with background(_keep_trimming(trim, every_s), "heap"):
        yield


async def _keep_trimming(trim: Callable[[int], int], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)


def _malloc_trim() -> Callable[[int], int] | None:
    with suppress(OSError, AttributeError):  # another system, or another C library
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
        return trim
    return None
