"""Choice of a worker: which ones a request may be given to, and which of them the policy takes."""

from collections.abc import Callable, Collection, Container, Iterator

from llava_serve.cluster.registry.dispatch import DispatchPolicy, DispatchRequest
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.worker_pool import IsEligible, WorkerPool

_NOBODY = WorkerPool()


class WorkerChoice:
    """The workers that take requests, by model.

    A worker whose lease has expired leaves when it is met, until it is put here again.
    """

    def __init__(
        self,
        policy: DispatchPolicy,
        lease_expired: Callable[[RegisteredWorker, float], bool],
        *,
        serve_blind: bool,
    ) -> None:
        """Pictures go to workers that are not known to see too, if it may `serve_blind`."""
        self._serve_blind = serve_blind
        self._policy = policy
        self._lease_expired = lease_expired
        self._pools: dict[str, WorkerPool] = {}
        self._expired: list[RegisteredWorker] = []  # that were met

    def put(self, worker: RegisteredWorker) -> None:
        """Add a worker, or replace the one with its address, whose models are the same."""
        for model in worker.status.model_names:
            if (pool := self._pools.get(model)) is None:
                pool = self._pools[model] = WorkerPool()
            pool.put(worker)

    def remove(self, worker: RegisteredWorker) -> None:
        """Take a worker out; nothing where it is not here."""
        for model in worker.status.model_names:
            if (pool := self._pools.get(model)) is not None:
                pool.remove(worker.address)
                if not len(pool):
                    del self._pools[model]

    def candidates(self, request: DispatchRequest, now: float) -> Iterator[RegisteredWorker]:
        """Yield the workers that one is chosen from."""
        return filter(self._eligibility(request, now), self._pool(request).by_turn())

    def has_room(self, request: DispatchRequest, now: float, tried: Container[str]) -> bool:
        """Tell whether `choose` would return a worker with free slots for the request."""
        pool, is_eligible = self._pool(request), self._eligibility(request, now)
        is_trial_free = False
        for worker in pool.with_room():
            if worker.has_room(request.answers) and is_eligible(worker):
                if worker.address not in tried:
                    return True
                is_trial_free = True
        return is_trial_free and not any(
            worker.address not in tried and is_eligible(worker) for worker in pool.by_turn()
        )

    def choose(
        self, request: DispatchRequest, now: float, tried: Collection[str]
    ) -> RegisteredWorker | None:
        """Return a worker, one with free slots where there is one; None where there is none.

        `tried` are the addresses of half-open workers that a request tries: they get more only
        where there is no other.
        """
        pool = self._pool(request)
        is_eligible = self._eligibility(request, now)

        def is_untried(worker: RegisteredWorker) -> bool:
            return worker.address not in tried and is_eligible(worker)

        def is_free(worker: RegisteredWorker) -> bool:
            return worker.has_room(request.answers) and is_untried(worker)

        chosen = (
            (self._policy(pool, request, is_free) if pool.has_room else None)
            or self._policy(pool, request, is_untried)
            or (self._policy(pool, request, is_eligible) if tried else None)
        )
        while self._expired:
            self.remove(self._expired.pop())
        return chosen

    def _pool(self, request: DispatchRequest) -> WorkerPool:
        return self._pools.get(request.model, _NOBODY)

    def _eligibility(self, request: DispatchRequest, now: float) -> IsEligible:
        self._expired.clear()
        takes_all = self._serve_blind or not request.has_images

        def is_eligible(worker: RegisteredWorker) -> bool:
            if self._lease_expired(worker, now):
                self._expired.append(worker)
                return False
            return request.accepts(worker) and (takes_all or worker.takes_images(now))

        return is_eligible
