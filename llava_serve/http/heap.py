"""The heap of a process: freed memory goes back to the system, and collections stay short.

glibc keeps what is freed for later, in every thread's arena: after a burst of large bodies and
images a process would hold its highest demand for ever. Elsewhere nothing is done about that.

Python's collector looks at every object that there is: a million of PyTorch's and transformers'
stop all threads for 0.3 s. Those that are there when serving begins stay, so it leaves them out.
And it comes only after so many new objects: a request's body of 50 MB in a circle of references,
as an error's traceback makes them, would stay while a process has little to do. So the end of a
large body is a reason to look at the young objects, and for the others it comes less often: after
700 of them, as Python has it, it takes a tenth of a busy controller's time.
"""

import asyncio
import ctypes
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from llava_serve.background import background

TRIM_EVERY_S = 5.0
_YOUNG_OBJECTS = 5_000  # made and not freed since the last collection
_LARGEST_FRACTION = 0.002  # of the time that collections may take: nothing else runs meanwhile


@asynccontextmanager
async def trimmed(every_s: float = TRIM_EVERY_S) -> AsyncIterator[None]:
    """Collect garbage and give freed memory back again and again while the body runs.

    That is `every_s` seconds after the last full collection, Python's own ones included, or later
    where there is much to look at.
    The latter takes microseconds where there is none, and some 40 ms for a gigabyte, on a thread.
    For as long as the process lives, objects made before are no longer looked at when garbage is
    collected, and young ones are looked at more rarely.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    trim = _malloc_trim()
    if trim is None:
        yield
        return
    async with background(_keep_trimming(trim, every_s), "heap"):
        yield


def collect_young() -> None:
    """Free what was made lately and lies in a circle, as soon as the request in hand has ended."""
    asyncio.get_running_loop().call_soon(gc.collect, 1)


async def _keep_trimming(trim: Callable[[int], int], every_s: float) -> None:
    with full_collections() as last:
        while True:
            await asyncio.sleep(every_s)
            if time.monotonic() - last.ended_at >= pause_s(every_s, last.took_s):
                gc.collect()
                await asyncio.to_thread(trim, 0)


@dataclass(slots=True)
class FullCollection:
    """The last collection that looked at all objects, whoever began it."""

    began_at: float = 0.0
    ended_at: float = float("-inf")
    took_s: float = 0.0


@contextmanager
def full_collections() -> Iterator[FullCollection]:
    """Yield what knows the last full collection while the block runs."""
    last = FullCollection()

    def note(phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        now = time.monotonic()
        if phase == "start":
            last.began_at = now
        else:
            last.ended_at, last.took_s = now, now - last.began_at

    gc.callbacks.append(note)
    try:
        yield last
    finally:
        gc.callbacks.remove(note)


def pause_s(every_s: float, took_s: float) -> float:
    """Return the seconds between two full collections, of which the last one took so long."""
    return max(every_s, took_s / _LARGEST_FRACTION)


def _malloc_trim() -> Callable[[int], int] | None:
    with suppress(OSError, AttributeError):  # another system, or another C library
        trim: Callable[[int], int] = ctypes.CDLL("libc.so.6").malloc_trim
        return trim
    return None
