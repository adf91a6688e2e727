"""One request on its way through the engine: the bridge between the event loop and the thread."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from llava_serve.engines.base import Delta, GenerateRequest
from llava_serve.engines.torch.answer import Answer
from llava_serve.engines.torch.decode import Sequence
from llava_serve.engines.torch.sampling import Chooser
from llava_serve.errors import ServeError


@dataclass(slots=True)
class Progress:
    """What the engine thread knows of a request that has a slot."""

    sequence: Sequence
    chooser: Chooser
    answer: Answer
    prompt_tokens: int
    image_tokens: int


@dataclass(eq=False, slots=True)
class Job:
    """Made on the event loop; `put` and `release` are called by the engine thread only."""

    request: GenerateRequest
    loop: asyncio.AbstractEventLoop
    progress: Progress | None = None
    _deltas: asyncio.Queue[Delta | ServeError] = field(default_factory=asyncio.Queue)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def put(self, item: Delta | ServeError) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self.loop.call_soon_threadsafe(self._deltas.put_nowait, item)

    def release(self) -> None:
        """Say that the engine has nothing left of this job."""
        self.progress = None
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._released.set)

    async def next(self) -> Delta:
        """Wait for the next delta.

        Raises:
            ServeError: what ended the request instead.
        """
        item = await self._deltas.get()
        if isinstance(item, ServeError):
            raise item
        return item

    async def cancel(self) -> None:
        """Ask the engine to stop, and wait until it has."""
        self._cancelled.set()
        with anyio.CancelScope(shield=True):  # a cancelled request still waits for the engine
            await self._released.wait()
