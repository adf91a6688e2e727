"""Dispatch policies: which of several workers gets the next request."""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from llava_serve.cluster.registered_worker import RegisteredWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchRequest:
    """What a worker is chosen for.

    `excluding` are addresses that the request has tried already; `answers` is how many it asks for.
    Only workers that speak the native wire are asked where it is `native`, and only those of one
    `fingerprint` where that is given.
    """

    model: str
    native: bool = True
    has_images: bool = False  # or videos
    answers: int = 1
    excluding: Collection[str] = ()
    fingerprint: str | None = None


# Chooses one of at least one worker.
DispatchPolicy = Callable[[Sequence[RegisteredWorker], DispatchRequest], RegisteredWorker]


def shortest_queue(workers: Sequence[RegisteredWorker], _: DispatchRequest) -> RegisteredWorker:
    """Choose the least load; of equals the fastest, of those any."""
    return min(workers, key=lambda worker: (worker.load, -worker.speed, random.random()))


def lottery(workers: Sequence[RegisteredWorker], _: DispatchRequest) -> RegisteredWorker:
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

    def __call__(self, workers: Sequence[RegisteredWorker], _: DispatchRequest) -> RegisteredWorker:
        self._turns += 1
        chosen = min(workers, key=lambda worker: self._last_turn.get(worker.address, 0))
        self._last_turn[chosen.address] = self._turns
        return chosen


DISPATCH: dict[str, Callable[[], DispatchPolicy]] = {
    "shortest_queue": lambda: shortest_queue,
    "lottery": lambda: lottery,
    "round_robin": RoundRobin,
}
