"""Places of answers to folders: a few for all models together, and one of each model's own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class FolderPlaces:
    """Bounds the answers that are made at once: each has its image in memory.

    One place of each model is its own, so that however many do not answer, the others go on.
    """

    def __init__(self, shared: int, most_of: Callable[[str], int]) -> None:
        self._shared, self._most_of = shared, most_of
        self._held = Counter[str]()  # by model
        self._released = asyncio.Event()

    @asynccontextmanager
    async def of(self, model: str) -> AsyncIterator[None]:
        """Hold a place for a model while the body runs, once there is one."""
        while not self._is_free(model):
            self._released.clear()
            await self._released.wait()
        self._held[model] += 1
        try:
            yield
        finally:
            self._held[model] -= 1
            self._held += Counter()  # forgets who has none
            self._released.set()

    def _is_free(self, model: str) -> bool:
        if self._held[model] == 0:
            return True
        shared = sum(held - 1 for held in self._held.values() if held)
        return shared < self._shared and self._held[model] < self._most_of(model)
