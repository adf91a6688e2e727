"""Worker pool: the live workers of one model, in the orders that dispatch policies ask for.

What a policy needs is kept up while loads change, so that a choice among thousands of workers costs
hardly more than among ten.
"""

import random
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

from llava_serve.cluster.registry.hash_ring import HashRing
from llava_serve.cluster.registry.registered_worker import RegisteredWorker

IsEligible = Callable[[RegisteredWorker], bool]
_Entry = tuple[float, float, float, RegisteredWorker]  # load, speed, tie-break, worker
_STALE_PER_WORKER = 4


class WorkerPool:
    """Workers by address; each is put here again whenever its load changes."""

    def __init__(self) -> None:
        self._workers: dict[str, RegisteredWorker] = {}  # whoever waited longest for a turn first
        self._addresses: list[str] = []
        self._index: dict[str, int] = {}  # in `_addresses`
        self._by_load: list[_Entry] = []  # a heap; all but the last entry of a worker are stale
        self._entries: dict[str, _Entry] = {}  # the last ones
        self._with_room: dict[str, None] = {}
        self._ring = HashRing()
        self._queue_lengths: dict[str, int] = {}  # as they are in the sum
        self._queue_length = 0
        self._speed = 0.0
        self.top_speed = 0.0  # of all workers that were ever here

    def __len__(self) -> int:
        return len(self._workers)

    def __contains__(self, address: str) -> bool:
        return address in self._workers

    def fair_queue_length(self, worker: RegisteredWorker) -> float:
        """Return the answers a worker has when all have the same load, with one more to give."""
        # The sum forgets a small speed that was added to a very large one.
        return (self._queue_length + 1) * worker.speed / max(self._speed, worker.speed)

    def put(self, worker: RegisteredWorker) -> None:
        """Add a worker, replace the one with its address, or take over its new load."""
        address = worker.address
        known = self._workers.get(address)
        if known is None:
            self._index[address] = len(self._addresses)
            self._addresses.append(address)
            self._ring.add(address)
        if known is not worker:
            self._speed += worker.speed - (known.speed if known else 0.0)
            self.top_speed = max(self.top_speed, worker.speed)
            self._workers[address] = worker
        self._count(worker)
        self._push(worker)

    def remove(self, address: str) -> None:
        """Take a worker out; nothing where it is not there."""
        if (worker := self._workers.pop(address, None)) is None:
            return
        self._speed -= worker.speed
        self._queue_length -= self._queue_lengths.pop(address)
        self._with_room.pop(address, None)
        del self._entries[address]
        self._ring.remove(address)
        last = self._addresses.pop()
        index = self._index.pop(address)
        if last != address:
            self._addresses[index] = last
            self._index[last] = index

    def least_loaded(self, is_eligible: IsEligible) -> RegisteredWorker | None:
        """Return the eligible worker with the least load; of equals the fastest, of those any."""
        passed_over: list[_Entry] = []
        chosen = None
        while self._by_load:
            entry = self._by_load[0]
            worker = entry[3]
            if self._entries.get(worker.address) is entry:
                if is_eligible(worker):
                    chosen = worker
                    break
                passed_over.append(entry)
            heappop(self._by_load)
        for one in passed_over:
            heappush(self._by_load, one)
        return chosen

    def on_ring(self, key: int) -> Iterator[RegisteredWorker]:
        """Yield every worker, the owner of a key first, then those that would own it next."""
        return map(self._workers.__getitem__, self._ring.walk(key))

    def by_turn(self) -> Iterator[RegisteredWorker]:
        """Yield every worker, whoever waited longest for a turn first."""
        return iter(self._workers.values())

    def take_turn(self, worker: RegisteredWorker) -> None:
        self._workers[worker.address] = self._workers.pop(worker.address)

    def at_random(self) -> RegisteredWorker:
        """Return any worker, all with the same chance; there must be one."""
        return self._workers[random.choice(self._addresses)]

    @property
    def has_room(self) -> bool:
        """Whether a worker has a free slot."""
        return bool(self._with_room)

    def with_room(self) -> Iterator[RegisteredWorker]:
        """Yield the workers that have a free slot."""
        return map(self._workers.__getitem__, self._with_room)

    def _count(self, worker: RegisteredWorker) -> None:
        address, queue_length = worker.address, worker.queue_length
        self._queue_length += queue_length - self._queue_lengths.get(address, 0)
        self._queue_lengths[address] = queue_length
        if worker.has_room(1):
            self._with_room[address] = None
        else:
            self._with_room.pop(address, None)

    def _push(self, worker: RegisteredWorker) -> None:
        entry = self._entries[worker.address] = _entry(worker)
        if len(self._by_load) > _STALE_PER_WORKER * len(self._workers):
            self._by_load = list(self._entries.values())
            heapify(self._by_load)
        else:
            heappush(self._by_load, entry)


def _entry(worker: RegisteredWorker) -> _Entry:
    return worker.load, -worker.speed, random.random(), worker
