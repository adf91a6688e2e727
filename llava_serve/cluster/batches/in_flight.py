"""In flight: the requests of all batches that a controller has on their way, bounded together."""

import asyncio

from llava_serve.quota import Quota


class InFlight:
    """At most `most` requests with bodies of `most_bytes`, first come, first served."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most = most
        self._requests = asyncio.Semaphore(most)
        self._bytes = Quota(most_bytes)

    async def acquire(self, size_bytes: int) -> None:
        """Wait for room; whoever is cancelled holds nothing."""
        await self._requests.acquire()
        try:
            await self._bytes.acquire(size_bytes)
        except BaseException:
            self._requests.release()
            raise

    def release(self, size_bytes: int) -> None:
        self._bytes.release(size_bytes)
        self._requests.release()
