"""Concurrency: how many questions are asked at once, which follows the model's slots."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from llava_serve.asked_server import AskedServer
from llava_serve.errors import ServeError

UNTOLD = 8  # at once, of a server that tells no slots
# Questions at once for each slot: half as many more wait, so that a slot never waits for one.
_PER_SLOT = 1.5
_EVERY_S = 15.0  # workers come and go about as often as they send heart-beats


class Concurrency:
    """Places for questions that are asked at once; `limit` may change while they are taken."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._changed = asyncio.Condition()

    async def take(self) -> None:
        """Wait for a place."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.taken < self.limit)
            self.taken += 1

    async def give_back(self) -> None:
        """Give a place to whoever waits."""
        async with self._changed:
            self.taken -= 1
            self._changed.notify()

    async def change(self, limit: int) -> None:
        """Set another limit; what is taken above it stays until it is given back."""
        async with self._changed:
            self.limit = limit
            self._changed.notify_all()


@asynccontextmanager
async def following_slots(
    server: AskedServer, model: str, fixed: int | None, every_s: float = _EVERY_S
) -> AsyncIterator[Concurrency]:
    """Yield places as many as are fixed, or else as the model's slots need, read again and again.

    Raises:
        ServeError: the server cannot be asked at first; later on its last answer counts.
    """
    if fixed is not None:
        yield Concurrency(fixed)
        return
    concurrency = Concurrency(places_for(await server.slots(model)))

    async def follow() -> None:
        while True:
            await asyncio.sleep(every_s)
            with suppress(ServeError):
                if (slots := await server.slots(model)) is not None:
                    await concurrency.change(places_for(slots))

    following = asyncio.create_task(follow(), name="following the slots")
    try:
        yield concurrency
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def places_for(slots: int | None) -> int:
    """Return how many questions are asked at once of a model with so many slots."""
    return UNTOLD if slots is None else math.ceil(_PER_SLOT * slots)
