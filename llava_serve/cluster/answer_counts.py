"""Answer counts: how many answers each worker makes, as counted here and by other controllers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from llava_serve.cluster.registered_worker import RegisteredWorker


class AnswerCounts:
    """Counts by address, apart from the entries: a worker that registers again keeps its streams.

    `elsewhere` is what other controllers of the cluster wait for.
    """

    def __init__(self) -> None:
        self._here: Counter[str] = Counter()
        self.elsewhere: Mapping[str, int] = {}

    @contextmanager
    def counting(self, address: str, answers: int = 1) -> Iterator[None]:
        """Count answers against a worker while the body runs."""
        self._here[address] += answers
        try:
            yield
        finally:
            self._here[address] -= answers
            if not self._here[address]:
                del self._here[address]

    def counted(self, worker: RegisteredWorker) -> RegisteredWorker:
        """Return a worker with its counts."""
        elsewhere = self.elsewhere.get(worker.address, 0)
        return replace(worker, in_flight=self._here[worker.address], elsewhere=elsewhere)

    def others(self, address: str, queue_length: int) -> int:
        """Return how many of a worker's answers no controller counts."""
        return max(0, queue_length - self._here[address] - self.elsewhere.get(address, 0))
