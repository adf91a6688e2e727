"""Who runs and who waits: first come, first served, a fixed number at once. No torch in here."""

from collections import deque
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Slots(Generic[Job]):
    """`running` never holds more than `limit` jobs; the rest wait in the order they came."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running)

    def add(self, job: Job) -> None:
        self.waiting.append(job)

    def admit(self) -> list[Job]:
        """Give free slots to those who wait longest; return the ones that got one."""
        admitted = []
        while self.waiting and len(self.running) < self._limit:
            admitted.append(self.waiting.popleft())
            self.running.append(admitted[-1])
        return admitted

    def remove(self, job: Job) -> None:
        """Take `job` out, wherever it is."""
        (self.running if job in self.running else self.waiting).remove(job)
