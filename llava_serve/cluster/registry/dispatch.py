"""Dispatch policies: which of several workers gets the next request."""

import itertools
import math
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.worker_pool import IsEligible, WorkerPool


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
    # What a worker may hold of the request already, 64 bits each: first its pictures, then the
    # beginning of its conversation.
    affinity: tuple[int, ...] = ()
    fingerprint: str | None = None

    def accepts(self, worker: RegisteredWorker) -> bool:
        """Tell whether a worker that is alive may be asked."""
        return (
            worker.address not in self.excluding
            and worker.serves(self.model, native=self.native)
            and self.fingerprint in (None, worker.fingerprint)
        )


# Chooses an eligible worker; None where there is none.
DispatchPolicy = Callable[[WorkerPool, DispatchRequest, IsEligible], RegisteredWorker | None]

_MOST_TRIES = 20
# Pictures go to the next worker where theirs has so much more than its share of the load ...
_BOUND = 1.25
# ... and more than so much of its slots.
_FREE_FRACTION = 0.75


def shortest_queue(
    pool: WorkerPool, _: DispatchRequest, is_eligible: IsEligible
) -> RegisteredWorker | None:
    """Choose the least load; of equals the fastest, of those any."""
    return pool.least_loaded(is_eligible)


def lottery(
    pool: WorkerPool, _: DispatchRequest, is_eligible: IsEligible
) -> RegisteredWorker | None:
    """Draw one, with chances in proportion to speed.

    Any is drawn and taken with a chance of its speed to the fastest's, or else another is drawn;
    where that goes on for too long, all are looked at.
    """
    for _try in range(_MOST_TRIES if len(pool) else 0):
        worker = pool.at_random()
        if random.random() * pool.top_speed < worker.speed and is_eligible(worker):
            return worker
    workers = [worker for worker in pool.by_turn() if is_eligible(worker)]
    weights = [worker.speed for worker in workers]
    return random.choices(workers, weights)[0] if workers else None


def round_robin(
    pool: WorkerPool, _: DispatchRequest, is_eligible: IsEligible
) -> RegisteredWorker | None:
    """Choose whoever waited longest for a turn, among the workers of the model."""
    worker = next(filter(is_eligible, pool.by_turn()), None)
    if worker is not None:
        pool.take_turn(worker)
    return worker


def image_affine(
    pool: WorkerPool, request: DispatchRequest, is_eligible: IsEligible
) -> RegisteredWorker | None:
    """Choose the worker that has seen the request's pictures, or the beginning of its prompt.

    Requests about the same pictures meet at one worker, unless it has more than its share of the
    load. Then those of one conversation meet at another, and what is left goes along the ring.

    Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads", 2018,
    arXiv:1608.01350.
    """
    if not request.affinity:
        return pool.least_loaded(is_eligible)
    images, *further = request.affinity
    along = pool.on_ring(images)
    owners = (worker for key in further for worker in itertools.islice(pool.on_ring(key), 1))
    candidates = itertools.chain(itertools.islice(along, 1), owners, along)
    for worker in itertools.islice(candidates, _MOST_TRIES):
        free_slots = (worker.status.capacity or 0) * _FREE_FRACTION
        most = max(free_slots, math.ceil(_BOUND * pool.fair_queue_length(worker)))
        if worker.queue_length < most and is_eligible(worker):
            return worker
    return pool.least_loaded(is_eligible)


DISPATCH: dict[str, DispatchPolicy] = {
    "shortest_queue": shortest_queue,
    "lottery": lottery,
    "round_robin": round_robin,
    "picture_affine": image_affine,
}
