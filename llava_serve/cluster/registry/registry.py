"""Registry of workers: who is alive, who serves what. No I/O: time comes in as an argument."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from llava_serve.cluster.registry.address_lookup import AddressLookup
from llava_serve.cluster.registry.answer_counts import AnswerCounts
from llava_serve.cluster.registry.breaker import CLOSED, Breaker, BreakerState
from llava_serve.cluster.registry.dispatch import DispatchPolicy, DispatchRequest
from llava_serve.cluster.registry.model_list import why_none
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.sight import Sight
from llava_serve.cluster.registry.worker_choice import WorkerChoice
from llava_serve.errors import RegistrationRefused
from llava_serve.protocol.cluster import WorkerStatus

# A silent worker is remembered this many leases: its model is then "not alive" and not "unknown".
_REMEMBERED_LEASES = 20


class Registry:
    """Leases of workers, and the count of what this controller sent to each of them.

    Entries go only when a worker leaves, is replaced, or was silent for many leases: nothing that
    looks at the registry takes anything out of it, nor does `refresh`.
    """

    def __init__(
        self,
        policy: DispatchPolicy,
        expiry_s: float = 45.0,
        *,
        check_within_s: float = 0.0,
        serve_blind: bool = False,
    ) -> None:
        """A new worker has `check_within_s` to be judged before pictures go to it unchecked.

        With `serve_blind` they go to every worker at once.
        """
        self.expiry_s = expiry_s
        self._check_within_s = check_within_s
        self._workers: dict[str, RegisteredWorker] = {}
        self._choice = WorkerChoice(policy, self.lease_expired, serve_blind=serve_blind)
        # Called with the address of each worker that joins, is heard of, marked or leaves.
        self.on_change: Callable[[str], None] = lambda address: None
        # Called when slots came back or workers changed: whoever waits may have a turn.
        self.on_room: Callable[[], None] = lambda: None
        self._counts = AnswerCounts(self._update_choice)
        self._lookup = AddressLookup()
        self._swept_at = float("-inf")
        self._tried: set[str] = set()  # addresses of half-open workers that a request tries

    def register(
        self,
        address: str,
        status: WorkerStatus,
        now: float,
        *,
        is_legacy: bool = False,
        expires: bool = True,
    ) -> RegisteredWorker:
        """Add a worker, or replace the one that had its address; see `in_place_of`.

        Raises:
            RegistrationRefused: see `check_owner`.
        """
        self.forget_expired(now)
        self.check_owner(address, is_legacy=is_legacy)
        entry = RegisteredWorker(
            address, status, now, is_legacy=is_legacy, expires=expires, counts=self._counts
        )
        before = self._workers.get(address)
        entry = entry.in_place_of(before).held_back(before, self._check_within_s)
        return self._renew(entry, status.queue_length, now)

    def heartbeat(self, address: str, queue_length: int, now: float) -> bool:
        """Renew a worker's lease; False tells an unknown one to register again."""
        if (worker := self._workers.get(address)) is None:
            return False
        self._renew(replace(worker, reports_here=True), queue_length, now)
        self.forget_expired(now)
        return True

    def refresh(self, worker: RegisteredWorker, status: WorkerStatus, now: float) -> bool:
        """Take over what a worker answered about itself.

        False: it has left or was replaced meanwhile, or another process answers at its address.
        """
        if (current := self._current(worker)) is None:
            return False
        if not worker.is_process_of(status):
            self.mark_unreachable(worker)
            return False
        self._renew(replace(current, status=status), status.queue_length, now)
        return True

    def judge(self, worker: RegisteredWorker, sight: Sight) -> bool:
        """Write down what a canary found; False: another process has replaced the worker."""
        if (current := self._current(worker)) is None:
            return False
        self._put(replace(current, sees=sight.sees, sight=sight.reason, checked_by=-math.inf))
        return True

    def deregister(self, address: str) -> bool:
        was_known = self._forget(address)
        self.on_change(address)
        self.on_room()
        return was_known

    def mark_unreachable(self, worker: RegisteredWorker) -> None:
        """Take a worker out of dispatch until its next heartbeat, status or registration."""
        self._change_breaker(worker, Breaker.miss)

    def record_failure(self, worker: RegisteredWorker, now: float) -> Breaker:
        """Open a worker's breaker, and return it: it broke off a request."""
        return self._change_breaker(worker, lambda breaker: breaker.fail(now))

    def doubt(self, worker: RegisteredWorker, now: float) -> Breaker:
        """Open a worker's breaker until it is asked, and return it: others say that it failed."""
        return self._change_breaker(worker, lambda breaker: breaker.doubt(now))

    def record_answer(self, worker: RegisteredWorker) -> None:
        """Close a worker's breaker: it answers a request."""
        self._change_breaker(worker, lambda _: CLOSED)

    def set_draining(self, address: str, is_draining: bool) -> bool:
        """Give a worker nothing new, or put it back into dispatch; False: it is unknown."""
        if (worker := self._workers.get(address)) is None:
            return False
        self._put(replace(worker, is_draining=is_draining))
        return True

    def mark_busy(self, worker: RegisteredWorker) -> None:
        """Take a worker for full until its next heartbeat, status or registration."""
        if (current := self._current(worker)) is not None:
            self._put(replace(current, is_busy=True))

    def adopt(self, worker: RegisteredWorker, queue_length: int) -> None:
        """Take over the entry of a worker that another controller of the cluster has admitted."""
        others = self._counts.others(worker.address, queue_length)
        worker = replace(worker, others=others, counts=self._counts)
        self._put(worker.held_back(self._workers.get(worker.address), self._check_within_s))

    def in_flight(self) -> dict[str, int]:
        """Return how many answers this controller waits for, by the worker's address."""
        return dict(self._counts.here)

    def count_elsewhere(self, counts: Mapping[str, int]) -> None:
        """Take over how many answers other controllers wait for, by the worker's address."""
        if self._counts.count_elsewhere(counts):
            self.on_room()

    def get(self, address: str) -> RegisteredWorker | None:
        """Return the entry of the worker at `address`; None of one that is not known."""
        return self._workers.get(address)

    @contextmanager
    def dispatch(self, request: DispatchRequest, now: float) -> Iterator[RegisteredWorker]:
        """Choose a worker and count the request against it while the body runs.

        One with room is chosen where there is one. A worker counts no more answers than it makes
        at once.

        Raises:
            WorkerUnchecked, OnlyBlindWorkers: pictures can go to none of the workers.
            NoWorker: of the workers that serve the model none is alive and not excluded; or there
                is no worker at all.
            ModelNotFound: none of the workers serves the model (native wire only).
            InvalidField: only workers of LLaVA's wire serve it (native wire only).
        """
        if (chosen := self._choice.choose(request, now, self._tried)) is None:
            raise why_none(request, self.known(), self.alive(now), now)
        if is_trial := chosen.breaker.state is BreakerState.HALF_OPEN:
            self._tried.add(chosen.address)
        with self.counting(chosen, request.answers):
            try:
                yield chosen
            finally:
                if is_trial:
                    self._tried.discard(chosen.address)

    @contextmanager
    def counting(self, worker: RegisteredWorker, answers: int = 1) -> Iterator[None]:
        """Count answers against a worker while the body runs."""
        counted = worker.counted(answers)
        self._counts.count(worker.address, counted)
        try:
            yield
        finally:
            self._counts.count(worker.address, -counted)
            self.on_room()

    def candidates(self, request: DispatchRequest, now: float) -> Iterator[RegisteredWorker]:
        """Yield the workers that `dispatch` chooses from."""
        return self._choice.candidates(request, now)

    def has_room(self, request: DispatchRequest, now: float) -> bool:
        """Tell whether a worker has free slots for a request."""
        return self._choice.has_room(request, now, self._tried)

    def address_of(self, model: str, now: float) -> str:
        """Name a worker to a client that calls workers itself. Raises: NoWorker."""
        return self._lookup.address_of(model, self.alive(now))

    def alive(self, now: float) -> list[RegisteredWorker]:
        """Return the workers that requests can go to, in the order they registered."""
        return [
            worker
            for worker in self.known()
            if worker.takes_requests and not self.lease_expired(worker, now)
        ]

    def known(self) -> list[RegisteredWorker]:
        """Return every worker, alive or not, in the order they registered."""
        return list(self._workers.values())

    def lease_expired(self, worker: RegisteredWorker, now: float) -> bool:
        return worker.expires and now - worker.last_seen > self.expiry_s

    def may_recover(self, worker: RegisteredWorker, now: float) -> bool:
        """Tell whether a worker is unreachable and its lease still runs."""
        current = self._current(worker)
        return bool(current and not current.is_reachable and not self.lease_expired(current, now))

    def check_owner(self, address: str, *, is_legacy: bool) -> None:
        """Let a caller speak for the worker at `address`, or refuse.

        Raises:
            RegistrationRefused: a legacy worker gives the address of one that registered with
                the token.
        """
        worker = self._workers.get(address)
        if is_legacy and worker is not None and not worker.is_legacy:
            raise RegistrationRefused(
                f"{address} belongs to a worker that joined with the cluster token; without the "
                "token nobody can speak for it"
            )

    def _update_choice(self, address: str) -> None:
        """Let dispatch see how a worker is that is known."""
        if (worker := self._workers.get(address)) is None:
            return
        if worker.takes_requests:
            self._choice.put(worker)
        else:
            self._choice.remove(worker)

    def _current(self, worker: RegisteredWorker) -> RegisteredWorker | None:
        """Return the entry of a worker, unless it left or another process has replaced it."""
        current = self._workers.get(worker.address)
        return current if current and current.is_process_of(worker.status) else None

    def _change_breaker(
        self, worker: RegisteredWorker, change: Callable[[Breaker], Breaker]
    ) -> Breaker:
        """Change it and return it, unless another process has replaced the worker since."""
        if (current := self._current(worker)) is None:
            return CLOSED
        self._tried.discard(worker.address)
        if (breaker := change(current.breaker)) != current.breaker:
            self._put(replace(current, breaker=breaker))
        return breaker

    def _put(self, worker: RegisteredWorker) -> None:
        """Set an entry; every change of one goes through here, for other controllers to see it."""
        former = self._workers.get(worker.address)
        if former is not None and former.status.model_names != worker.status.model_names:
            self._choice.remove(former)
        self._workers[worker.address] = worker
        self._update_choice(worker.address)
        self.on_change(worker.address)
        self.on_room()

    def _renew(self, worker: RegisteredWorker, queue_length: int, now: float) -> RegisteredWorker:
        others = self._counts.others(worker.address, queue_length)
        self._lookup.forget(worker.address)
        breaker = worker.breaker.live(now)
        entry = replace(worker, last_seen=now, breaker=breaker, is_busy=False, others=others)
        self._put(entry)
        return entry

    def _forget(self, address: str) -> bool:
        self._lookup.forget(address)
        if (worker := self._workers.pop(address, None)) is None:
            return False
        self._choice.remove(worker)
        return True

    def forget_expired(self, now: float) -> None:
        """Give up workers that were silent for many leases."""
        if now - self._swept_at <= self.expiry_s:
            return
        self._swept_at = now
        longest_s = self.expiry_s * _REMEMBERED_LEASES
        for worker in list(self._workers.values()):
            if worker.expires and now - worker.last_seen > longest_s:
                self._forget(worker.address)
