"""Answer counts: how many answers each worker makes, as counted here and by other controllers."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from llava_serve.cluster.registered_worker import RegisteredWorker


class AnswerCounts:
    """Counts by address, apart from the entries: a worker that registers again keeps its streams.

    `on_change` is called with the address of each worker whose count has changed.
    """

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self.here: Counter[str] = Counter()
        self._elsewhere: Mapping[str, int] = {}
        self._on_change = on_change

    @contextmanager
    def counting(self, address: str, answers: int = 1) -> Iterator[None]:
        """Count answers against a worker while the body runs."""
        self._count(address, answers)
        try:
            yield
        finally:
            self._count(address, -answers)

    def count_elsewhere(self, counts: Mapping[str, int]) -> bool:
        """Take over how many answers other controllers wait for; False where nothing changed."""
        former, self._elsewhere = self._elsewhere, counts
        addresses = former.keys() | counts.keys()
        changed = [one for one in addresses if former.get(one) != counts.get(one)]
        for address in changed:
            self._on_change(address)
        return bool(changed)

    def counted(self, worker: RegisteredWorker) -> RegisteredWorker:
        """Return a worker with its counts."""
        elsewhere = self._elsewhere.get(worker.address, 0)
        return replace(worker, in_flight=self.here[worker.address], elsewhere=elsewhere)

    def others(self, address: str, queue_length: int) -> int:
        """Return how many of a worker's answers no controller counts."""
        return max(0, queue_length - self.here[address] - self._elsewhere.get(address, 0))

    def _count(self, address: str, answers: int) -> None:
        self.here[address] += answers
        if not self.here[address]:
            del self.here[address]
        self._on_change(address)
