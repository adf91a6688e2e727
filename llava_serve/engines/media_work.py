"""Work on a prompt's media, away from the event loop, and once for all answers to the prompt."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from llava_serve.engines.base import Conversation, ReadyPrompt

Result = TypeVar("Result")


class MediaWork(Generic[Result]):
    """Runs `work`, which may block and must be safe to call from any thread."""

    def __init__(self, work: Callable[[Conversation | ReadyPrompt], Result]) -> None:
        self._work = work
        # By identity: several answers share one prompt, which lives as long as its task.
        self._under_way: dict[int, asyncio.Task[Result]] = {}

    async def on(self, prompt: Conversation | ReadyPrompt) -> Result:
        """Return the result for `prompt`, or raise what the work raises.

        Whoever leaves meanwhile keeps the place until the thread is free.
        """
        key = id(prompt)
        if (working := self._under_way.get(key)) is None:
            working = asyncio.create_task(asyncio.to_thread(self._work, prompt))
            self._under_way[key] = working
            working.add_done_callback(lambda _: self._under_way.pop(key))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            while not working.done():
                with suppress(asyncio.CancelledError):  # told twice to leave
                    await asyncio.wait([working])
            if not working.cancelled():
                working.exception()  # seen: nobody waits for it any more
            raise
