"""Answer counts: how many answers each worker makes, as counted here and by other controllers."""

from collections.abc import Callable, Mapping


class AnswerCounts:
    """Counts by address, apart from the entries: a worker that registers again keeps its streams.

    `on_change` is called with the address of each worker whose count has changed.
    """

    def __init__(self, on_change: Callable[[str], None] = lambda address: None) -> None:
        self.here: dict[str, int] = {}
        self.elsewhere: Mapping[str, int] = {}
        self._on_change = on_change

    def of(self, address: str) -> int:
        """Return how many of a worker's answers are counted, here and elsewhere."""
        return self.here.get(address, 0) + self.elsewhere.get(address, 0)

    def count(self, address: str, change: int) -> None:
        """Count answers that this controller asks for, or that are made no longer."""
        if here := self.here.get(address, 0) + change:
            self.here[address] = here
        else:
            del self.here[address]
        self._on_change(address)

    def count_elsewhere(self, counts: Mapping[str, int]) -> bool:
        """Take over how many answers other controllers wait for; False where nothing changed."""
        former, self.elsewhere = self.elsewhere, counts
        addresses = former.keys() | counts.keys()
        changed = [one for one in addresses if former.get(one) != counts.get(one)]
        for address in changed:
            self._on_change(address)
        return bool(changed)

    def others(self, address: str, queue_length: int) -> int:
        """Return how many of a worker's answers no controller counts."""
        return max(0, queue_length - self.of(address))
