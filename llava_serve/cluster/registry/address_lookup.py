"""Look-ups of a worker's address by clients that call workers themselves, as LLaVA's do."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.errors import NoWorker


class AddressLookup:
    """Spreads look-ups by load and by the look-ups since each worker's last heartbeat.

    They are no load themselves, nor a turn of the dispatch: anybody may look up, and need not ask
    the worker then.
    """

    def __init__(self) -> None:
        self._looked_up: Counter[str] = Counter()  # by address, since the last heartbeat

    def address_of(self, model: str, alive: Iterable[RegisteredWorker]) -> str:
        """Return the address of a worker of `model`, of one that is not blind where there is one.

        Raises:
            NoWorker: none serves it.
        """
        serving = [worker for worker in alive if worker.serves(model, native=False)]
        seeing = [worker for worker in serving if worker.sees is not False]
        candidates = [
            replace(worker, others=worker.others + self._looked_up[worker.address])
            for worker in seeing or serving
        ]
        if not candidates:
            raise NoWorker(model)
        address = min(candidates, key=lambda one: (one.load, -one.speed, random.random())).address
        self._looked_up[address] += 1
        return address

    def forget(self, address: str) -> None:
        """Begin to count anew: the worker says how loaded it is, or has left."""
        self._looked_up.pop(address, None)
