"""Look-ups of a worker's address by clients that call workers themselves, as LLaVA's do."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from llava_serve.cluster.registered_worker import RegisteredWorker


class AddressLookup:
    """Spreads look-ups by load and by the look-ups since each worker's last heartbeat.

    They are no load themselves, nor a turn of the dispatch: anybody may look up, and need not ask
    the worker then.
    """

    def __init__(self) -> None:
        self._looked_up: Counter[str] = Counter()  # by address, since the last heartbeat

    def choose(self, workers: Iterable[RegisteredWorker]) -> str | None:
        """Return the address of one of the workers; None where there is none."""
        candidates = [
            replace(worker, others=worker.others + self._looked_up[worker.address])
            for worker in workers
        ]
        if not candidates:
            return None
        address = min(candidates, key=lambda one: (one.load, -one.speed, random.random())).address
        self._looked_up[address] += 1
        return address

    def forget(self, address: str) -> None:
        """Begin to count anew: the worker says how loaded it is, or has left."""
        self._looked_up.pop(address, None)
