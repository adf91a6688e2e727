"""Dispatch policies: which of several workers gets the next request."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """What a policy sees of a worker."""

    @property
    def address(self) -> str: ...
    @property
    def speed(self) -> float: ...
    @property
    def load(self) -> float: ...


AnyCandidate = TypeVar("AnyCandidate", bound=Candidate)


class Dispatch(Protocol):
    """Chooses one of at least one worker."""

    def __call__(self, workers: Sequence[AnyCandidate]) -> AnyCandidate: ...


def shortest_queue(workers: Sequence[AnyCandidate]) -> AnyCandidate:
    """Choose the least load; of equals the fastest, of those any."""
    return min(workers, key=lambda worker: (worker.load, -worker.speed, random.random()))


def lottery(workers: Sequence[AnyCandidate]) -> AnyCandidate:
    """Draw one, with chances in proportion to speed."""
    return random.choices(workers, weights=[worker.speed for worker in workers])[0]


class RoundRobin:
    """Choose whoever waited longest for a turn.

    Turns are remembered per worker, not as one running index: with an index, two models asked for
    in alternation would each meet the same worker every time.
    """

    def __init__(self) -> None:
        self._turns = 0
        self._last_turn: dict[str, int] = {}

    def __call__(self, workers: Sequence[AnyCandidate]) -> AnyCandidate:
        self._turns += 1
        chosen = min(workers, key=lambda worker: self._last_turn.get(worker.address, 0))
        self._last_turn[chosen.address] = self._turns
        return chosen


DISPATCH: dict[str, Callable[[], Dispatch]] = {
    "shortest_queue": lambda: shortest_queue,
    "lottery": lambda: lottery,
    "round_robin": RoundRobin,
}
