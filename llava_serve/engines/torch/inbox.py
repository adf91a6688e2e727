"""How requests get from the event loop to the engine thread, and that none is left behind."""

import queue
import threading
from contextlib import suppress

from llava_serve.engines.torch.job import Job
from llava_serve.errors import ShuttingDown


class Inbox:
    """Jobs in the order they came; once it is closed, none comes any more."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._entering = threading.Lock()  # nothing slips in between a closing and a last look
        self._is_closed = False

    def put(self, job: Job) -> None:
        """Raises: ShuttingDown, once it is closed."""
        with self._entering:
            if self._is_closed:
                raise ShuttingDown
            self._jobs.put(job)

    def take(self, *, wait: bool) -> list[Job] | None:
        """Return what arrived, with `wait` at least one job; None when the thread is to end."""
        jobs: list[Job] = []
        with suppress(queue.Empty):
            while (job := self._jobs.get(block=wait and not jobs)) is not None:
                jobs.append(job)
            self._jobs.put(None)  # for the next look, which finds nothing but this
            return jobs or None
        return jobs

    def close(self) -> None:
        """Let nobody in and wake the thread, which is to end."""
        with self._entering:
            self._is_closed = True
        self._jobs.put(None)
