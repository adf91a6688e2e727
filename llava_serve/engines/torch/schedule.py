"""Whose turn it is: who gets a slot, and what a step reads. No torch in here.

First come, first served. In each step every running answer advances by one token, and what room is
left goes to prompts that are still being read, the oldest first: a long prompt is read in chunks,
so that the answers beside it keep moving.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Reading(Protocol):
    """What the scheduler needs to know of a request that has a slot."""

    @property
    def unread(self) -> int:
        """Count the tokens that the model has not read yet: one, once the prompt is read."""
        ...

    @property
    def is_answering(self) -> bool:
        """Say whether its prompt is read."""
        ...


Job = TypeVar("Job", bound=Reading)


@dataclass(frozen=True, slots=True)
class Share(Generic[Job]):
    """The next `count` unread tokens of a job are part of the step."""

    job: Job
    count: int


class Schedule(Generic[Job]):
    """`running` never holds more than `slots` jobs; the rest wait in the order they came."""

    def __init__(self, slots: int, chunk: int, alone: int) -> None:
        """Read at most `chunk` tokens of prompts beside running answers, else `alone`."""
        self._slots = slots
        self._chunk = chunk
        self._alone = alone
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running)

    def add(self, job: Job) -> None:
        self.waiting.append(job)

    def remove(self, job: Job) -> None:
        """Take `job` out, wherever it is."""
        (self.running if job in self.running else self.waiting).remove(job)

    def candidates(self) -> list[Job]:
        """Return those who wait longest, as many as there are free slots."""
        free = self._slots - len(self.running)
        return [self.waiting[i] for i in range(min(free, len(self.waiting)))]

    def admit(self, job: Job) -> None:
        """Give a free slot to one of the candidates."""
        self.waiting.remove(job)
        self.running.append(job)

    def put_back(self, job: Job) -> None:
        """Take the slot of `job`, which is the next to get one again."""
        self.running.remove(job)
        self.waiting.appendleft(job)

    def step(self) -> list[Share[Job]]:
        """Say what the next forward pass reads."""
        answering = [Share(job, 1) for job in self.running if job.is_answering]
        room = self._chunk if answering else self._alone
        shares = answering
        for job in self.running:
            if not job.is_answering and room > 0:
                shares.append(Share(job, min(room, job.unread)))
                room -= shares[-1].count
        return shares
