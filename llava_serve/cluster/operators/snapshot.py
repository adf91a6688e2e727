"""Snapshot of the cluster for operators, out of what the controller knows: it asks no worker."""

import logging
from collections import Counter
from collections.abc import Callable

from llava_serve import __version__
from llava_serve.cluster.operators.status_routes import state_of
from llava_serve.cluster.recording.failure_log import FailureCount, FailureLog
from llava_serve.cluster.recording.metrics import fault_of
from llava_serve.cluster.recording.vitals_history import VitalsHistory
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.waiting.line import Line
from llava_serve.errors.base import class_of
from llava_serve.protocol.cluster_snapshot import (
    UNHEARD_STATES,
    ClusterSnapshot,
    FailureSummary,
    WorkerFailure,
    WorkerSnapshot,
)

MOST_WORKERS = 1000  # in one answer
_HEALTHY = "alive"
_LOOK_INTO = "Look into the log of {}, under the request's id."
# Outcomes that are no error's code.
_REMEDIES = {
    "refused": "The worker said no: see the answer that the client got, or the worker's log.",
    "failed": _LOOK_INTO.format("the worker"),
    "broken_off": _LOOK_INTO.format("the controller"),
}


class Snapshots:
    """Makes snapshots; `began` is when the controller did."""

    def __init__(
        self,
        workers: Registry,
        line: Line,
        vitals: VitalsHistory,
        failures: FailureLog,
        clock: Callable[[], float],
    ) -> None:
        self._workers = workers
        self._line = line
        self._vitals = vitals
        self._failures = failures
        self._clock = clock
        self._began = clock()

    def take(self, search: str = "", count: int = 100) -> ClusterSnapshot:
        """Return sums of all workers, and the first `count` that the search finds.

        Those with something wrong come first.
        """
        now = self._clock()
        known = self._workers.known()
        states = {one.address: self._state(one, now) for one in known}
        found = [one for one in known if _matches(one, search.strip().lower())]
        found.sort(key=lambda one: _is_well(one, states[one.address]))
        alive = [one for one in known if states[one.address] == _HEALTHY]
        heard = [address for address, state in states.items() if state not in UNHEARD_STATES]
        return ClusterSnapshot(
            version=__version__,
            uptime_s=round(now - self._began, 1),
            log_level=logging.getLevelName(logging.getLogger().level).lower(),
            states=Counter(states.values()),
            slots=sum(one.status.capacity or 0 for one in alive),
            queue_length=sum(one.queue_length for one in alive),
            waiting={model: n for model, n in self._line.lengths().items() if n},
            tokens_per_s=round(self._vitals.rates(heard), 1),
            matching=len(found),
            workers=[self._worker(one, states[one.address], now) for one in found[:count]],
            failures=[_summary(one, now) for one in self._failures.counts()],
        )

    def _state(self, worker: RegisteredWorker, now: float) -> str:
        return state_of(worker, self._workers.lease_expired(worker, now))

    def _worker(self, worker: RegisteredWorker, state: str, now: float) -> WorkerSnapshot:
        told = self._vitals.of(worker.address)
        samples = [] if told is None else [*told.samples]
        cards = worker.status.cards
        return WorkerSnapshot(
            id=worker.status.worker_id or worker.address,
            address=worker.address,
            state=state,
            breaker=worker.breaker.state,
            models=worker.status.model_names,
            engine="LLaVA's own" if worker.is_legacy or not cards else cards[0].engine,
            slots=worker.status.capacity,
            in_flight=worker.in_flight,
            queue_length=worker.queue_length,
            sees=worker.sees,
            sight=worker.why,
            last_seen_s=round(now - worker.last_seen, 1),
            vitals=told.vitals if told else None,
            tokens_per_s=[_rounded(sample.tokens_per_s) for sample in samples],
            kv_fraction=[_rounded(sample.kv_fraction) for sample in samples],
            failures=[
                WorkerFailure(
                    code=one.code, ago_s=round(now - one.at, 1), request_id=one.request_id
                )
                for one in self._failures.of_worker(worker.address)
            ],
        )


def _matches(worker: RegisteredWorker, search: str) -> bool:
    texts = (worker.address, worker.status.worker_id or "", *worker.status.model_names)
    return any(search in text.lower() for text in texts)


def _is_well(worker: RegisteredWorker, state: str) -> bool:
    return state == _HEALTHY and worker.sees is not False and worker.breaker.failures == 0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _summary(counted: FailureCount, now: float) -> FailureSummary:
    error = class_of(counted.code)
    return FailureSummary(
        code=counted.code,
        count=counted.count,
        fault=fault_of(counted.code),
        remedy=_REMEDIES.get(counted.code) or (error.remedy if error else ""),
        ago_s=round(now - counted.last_at, 1),
    )
