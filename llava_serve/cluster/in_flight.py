"""Answers in flight: how many are awaited of each worker, by this controller and by others."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from llava_serve.cluster.registered_worker import RegisteredWorker


class InFlight:
    """Counts by address, apart from the entries of workers: one that registers again keeps them."""

    def __init__(self) -> None:
        self.here: Counter[str] = Counter()
        self._elsewhere: Mapping[str, int] = {}

    def add(self, address: str, answers: int) -> None:
        """Count answers that this controller awaits, or with a minus awaits no more."""
        self.here[address] += answers
        if not self.here[address]:
            del self.here[address]

    def take_elsewhere(self, counts: Mapping[str, int]) -> set[str]:
        """Take over what other controllers await; return the addresses for which it has changed."""
        former, self._elsewhere = self._elsewhere, counts
        return {one for one in former.keys() | counts.keys() if former.get(one) != counts.get(one)}

    def others(self, address: str, queue_length: int) -> int:
        """Return how many answers of a worker's queue no controller has counted."""
        return max(0, queue_length - self.here[address] - self._elsewhere.get(address, 0))

    def counted(self, worker: RegisteredWorker) -> RegisteredWorker:
        """Return an entry with the counts of its address."""
        elsewhere = self._elsewhere.get(worker.address, 0)
        return replace(worker, in_flight=self.here[worker.address], elsewhere=elsewhere)
