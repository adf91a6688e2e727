"""Registry of workers: who is alive, who serves what. No I/O: time comes in as an argument."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from llava_serve.cluster.dispatch import DispatchPolicy, DispatchRequest, shortest_queue, sighted
from llava_serve.cluster.registered_worker import RegisteredWorker
from llava_serve.cluster.sight import Sight, sees_of_all
from llava_serve.errors import InvalidField, ModelNotFound, NoWorker, RegistrationRefused
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.openai import ModelCard

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
        self._policy = policy
        self._expiry_s = expiry_s
        self._check_within_s = check_within_s
        self._serve_blind = serve_blind
        self._workers: dict[str, RegisteredWorker] = {}
        # By address, apart from the entries: a worker that registers again keeps its open streams.
        self._in_flight: Counter[str] = Counter()
        self._looked_up: Counter[str] = Counter()  # by address, since the last heartbeat

    def register(
        self,
        address: str,
        status: WorkerStatus,
        now: float,
        *,
        is_legacy: bool = False,
        expires: bool = True,
    ) -> RegisteredWorker:
        """Add a worker, or replace the one that had its address.

        Raises:
            RegistrationRefused: see `check_owner`.
        """
        self._forget_expired(now)
        self.check_owner(address, is_legacy=is_legacy)
        self._looked_up.pop(address, None)
        before = self._workers.get(address)
        worker = RegisteredWorker(
            address,
            status,
            last_seen=now,
            is_legacy=is_legacy,
            expires=expires,
            others=self._others(address, status.queue_length),
        )
        if before is not None and before.is_same_model(worker):
            worker = replace(worker, sight=before.sight, checked_by=before.checked_by)
        elif worker.canary_model is not None:
            worker = replace(worker, checked_by=now + self._check_within_s)
        self._workers[address] = worker
        return worker

    def heartbeat(self, address: str, queue_length: int, now: float) -> bool:
        """Renew a worker's lease; False tells an unknown one to register again."""
        if (worker := self._workers.get(address)) is None:
            return False
        others = self._others(address, queue_length)
        self._looked_up.pop(address, None)
        self._workers[address] = replace(worker, last_seen=now, is_reachable=True, others=others)
        return True

    def refresh(self, worker: RegisteredWorker, status: WorkerStatus, now: float) -> bool:
        """Take over what a worker answered about itself.

        False: it has left or was replaced meanwhile, or another process answers at its address.
        """
        if self.current(worker) is None:
            return False
        if status.worker_id != worker.status.worker_id:
            self.mark_unreachable(worker)
            return False
        self._workers[worker.address] = replace(worker, status=status)
        return self.heartbeat(worker.address, status.queue_length, now)

    def judge(self, worker: RegisteredWorker, sight: Sight) -> bool:
        """Write down what a canary found; False: another process has replaced the worker."""
        if (current := self.current(worker)) is None:
            return False
        self._workers[worker.address] = replace(current, sight=sight, checked_by=-math.inf)
        return True

    def deregister(self, address: str) -> bool:
        self._looked_up.pop(address, None)
        return self._workers.pop(address, None) is not None

    def mark_unreachable(self, worker: RegisteredWorker) -> None:
        """Take a worker out of dispatch until its next heartbeat, status or registration.

        A process that has replaced it since stays in dispatch.
        """
        if (current := self.current(worker)) is not None:
            self._workers[worker.address] = replace(current, is_reachable=False)

    @contextmanager
    def dispatch(self, request: DispatchRequest, now: float) -> Iterator[RegisteredWorker]:
        """Choose a worker and count the request against it while the body runs.

        A worker counts no more answers than it makes at once.

        Raises:
            WorkerUnchecked: none can take pictures before it is checked for sight.
            OnlyBlindWorkers: pictures can go to none, because none sees.
            NoWorker: of the workers that serve the model none is alive and not excluded; or there
                is no worker at all.
            ModelNotFound: none of the workers serves the model (native wire only).
            InvalidField: only workers of LLaVA's wire serve it (native wire only).
        """
        candidates = [
            worker
            for worker in self.alive(now)
            if worker.serves(request.model, native=request.native)
            and worker.address not in request.excluding
        ]
        if not candidates:
            raise (
                self._why_none(request.model, now) if request.native else NoWorker(request.model)
            )
        if request.has_images and not self._serve_blind:
            candidates = sighted(candidates, request.model, now)
        chosen = self._policy(candidates, request)
        with self.counted(chosen, min(request.answers, chosen.status.capacity or request.answers)):
            yield chosen

    @contextmanager
    def counted(self, worker: RegisteredWorker, answers: int = 1) -> Iterator[None]:
        """Count answers against a worker while the body runs."""
        self._in_flight[worker.address] += answers
        try:
            yield
        finally:
            self._in_flight[worker.address] -= answers
            if not self._in_flight[worker.address]:
                del self._in_flight[worker.address]

    def address_of(self, model: str, now: float) -> str:
        """Name a worker to a client that calls workers itself.

        Look-ups are spread by load and by the look-ups since each worker's last heartbeat. They
        are no load themselves, nor a turn of the dispatch: anybody may look up, and need not ask
        the worker then.

        Raises:
            NoWorker: nobody alive serves `model`.
        """
        candidates = [
            replace(worker, others=worker.others + self._looked_up[worker.address])
            for worker in self.alive(now)
            if worker.serves(model, native=False)
        ]
        if not candidates:
            raise NoWorker(model)
        candidates = [one for one in candidates if one.sees is not False] or candidates
        address = shortest_queue(candidates, DispatchRequest(model=model, native=False)).address
        self._looked_up[address] += 1
        return address

    def alive(self, now: float) -> list[RegisteredWorker]:
        """Return the workers that requests can go to, in the order they registered."""
        return [w for w in self.known() if w.is_reachable and not self.lease_expired(w, now)]

    def known(self) -> list[RegisteredWorker]:
        """Return every worker, alive or not, in the order they registered."""
        return [
            replace(worker, in_flight=self._in_flight[worker.address])
            for worker in self._workers.values()
        ]

    def current(self, worker: RegisteredWorker) -> RegisteredWorker | None:
        """Return the entry of a worker, unless it left or another process has replaced it."""
        current = self._workers.get(worker.address)
        if current is None or current.status.worker_id != worker.status.worker_id:
            return None
        return replace(current, in_flight=self._in_flight[worker.address])

    def lease_expired(self, worker: RegisteredWorker, now: float) -> bool:
        return worker.expires and now - worker.last_seen > self._expiry_s

    def may_recover(self, worker: RegisteredWorker, now: float) -> bool:
        """Tell whether a worker is unreachable and its lease still runs."""
        current = self.current(worker)
        if current is None or current.is_reachable:
            return False
        return not self.lease_expired(current, now)

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

    def models(self, now: float) -> list[str]:
        return sorted({name for worker in self.alive(now) for name in worker.status.model_names})

    def cards(self, now: float) -> list[ModelCard]:
        """Return one card for each model of the native wire; the earliest worker's counts.

        A model sees where one of its workers does, and is blind where all of them are.
        """
        cards: dict[str, ModelCard] = {}
        sights: dict[str, set[bool | None]] = defaultdict(set)
        for worker in self.alive(now):
            if not worker.is_legacy:
                for card in worker.status.cards:
                    cards.setdefault(card.id, card)
                    sights[card.id].add(worker.sees)
        return [
            card.model_copy(update={"sees": sees_of_all(sights[name])})
            for name, card in sorted(cards.items())
        ]

    def _others(self, address: str, queue_length: int) -> int:
        return max(0, queue_length - self._in_flight[address])

    def _forget_expired(self, now: float) -> None:
        longest_s = self._expiry_s * _REMEMBERED_LEASES
        for worker in self.known():
            if worker.expires and now - worker.last_seen > longest_s:
                self.deregister(worker.address)

    def _why_none(self, model: str, now: float) -> NoWorker | ModelNotFound | InvalidField:
        serving = [w for w in self._workers.values() if w.serves(model, native=False)]
        if serving and all(worker.is_legacy for worker in serving):
            return InvalidField(
                "model",
                f"{model!r} is served by a worker of LLaVA's own protocol, which answers "
                "POST /worker_generate_stream only",
            )
        if serving or not self._workers:
            return NoWorker(model)
        return ModelNotFound(model, [card.id for card in self.cards(now)])
