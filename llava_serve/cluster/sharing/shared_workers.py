"""Workers that several controllers know: what is told of each to the others, and what is believed.

A worker that another controller has admitted is trusted. Whether it can be reached is seen from
here: what others say about that only makes this controller ask the worker at once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.registry.breaker import CLOSED
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.sharing.state_message import Marks, WorkerMessage, marked_fields, marks_of

logger = logging.getLogger(__name__)

_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class _Marked:
    """The marks of one worker's process, and when the last of them was set, if ever."""

    worker_id: str | None
    marks: Marks
    at: float | None


class SharedWorkers:
    """The workers of a registry, beside those of other controllers.

    `changed` has the addresses of those to which something happened here that the others were not
    told of yet, and when it happened.
    """

    def __init__(self, workers: Registry, prober: Prober, clock: Callable[[], float]) -> None:
        self._workers = workers
        self._prober = prober
        self._clock = clock
        self.changed: dict[str, float] = {}
        self._marked: dict[str, _Marked] = {}  # by address
        self._is_merging = False
        workers.on_change = self._note

    def _note(self, address: str) -> None:
        if not self._is_merging:
            self.changed[address] = self._clock()

    def note_all(self) -> None:
        """Tell of every worker once more, as of when it was last heard of."""
        for worker in self._workers.known():
            self.changed.setdefault(worker.address, worker.last_seen)

    def forget_gone(self) -> None:
        """Give up what is kept of workers that are known no more."""
        known = {worker.address for worker in self._workers.known()}
        self._marked = {k: marked for k, marked in self._marked.items() if k in known}

    def message(self, address: str) -> WorkerMessage:
        """Return what is to be told of a worker that has changed."""
        worker, at = self._workers.get(address), self.changed[address]
        if worker is None:
            return WorkerMessage(address=address)
        return WorkerMessage.of(worker, at, self._marked_as_of(worker, at).at)

    def merge(self, message: WorkerMessage, at: float) -> None:
        """Take over what another controller told at `at`.

        Raises:
            ValidationError: it cannot be read.
        """
        if at <= self.changed.get(message.address, _NEVER):
            return  # what happened here is younger, and the others are told next
        theirs, ours = message.worker(at), self._workers.get(message.address)
        self._is_merging = True
        try:
            if theirs is None:
                self._drop(ours, at)
            elif ours is None or not ours.is_process_of(theirs.status):
                self._adopt(theirs, ours, message, at)
            else:
                self._adopt_news(theirs, ours, message, at)
        finally:
            self._is_merging = False

    def _drop(self, ours: RegisteredWorker | None, left_at: float) -> None:
        if ours is not None and ours.last_seen <= left_at:
            self._workers.deregister(ours.address)
            logger.info("worker %s left another controller", ours.address)

    def _adopt(
        self,
        theirs: RegisteredWorker,
        ours: RegisteredWorker | None,
        message: WorkerMessage,
        at: float,
    ) -> None:
        """Take over a worker's process that is new here, unless it is the older of the two."""
        if ours is not None and ours.last_seen > theirs.last_seen:
            return
        address, status = theirs.address, theirs.status
        self._marked[address] = _Marked(status.worker_id, marks_of(theirs), message.marked_at(at))
        breaker = ours.breaker.restart() if ours else CLOSED
        self._workers.adopt(replace(theirs, breaker=breaker), status.queue_length)
        names = ", ".join(status.model_names)
        logger.info("worker %s joined another controller; it serves %s", address, names)
        if not message.is_reachable:
            self._prober.doubt(theirs)

    def _adopt_news(
        self,
        theirs: RegisteredWorker,
        ours: RegisteredWorker,
        message: WorkerMessage,
        at: float,
    ) -> None:
        marks, marked_at, worker = marks_of(theirs), message.marked_at(at), ours
        marked = self._marked_as_of(ours, self.changed.get(ours.address, at))
        if theirs.last_seen > ours.last_seen:
            worker = replace(
                worker,
                status=theirs.status,
                last_seen=theirs.last_seen,
                reports_here=False,
                is_busy=False,
            )
        if marked_at is not None and (marked.at is None or marked_at > marked.at):
            worker = replace(worker, **marked_fields(marks))
            self._marked[ours.address] = _Marked(ours.status.worker_id, marks, marked_at)
        elif marks != marked.marks:  # the others do not know of the last mark
            self.changed[ours.address] = self._clock()
        self._workers.adopt(worker, theirs.status.queue_length)
        if ours.is_reachable and not message.is_reachable:
            self._prober.doubt(worker)
        elif message.is_reachable and not ours.is_reachable:
            self._prober.ask_soon(worker)

    def _marked_as_of(self, worker: RegisteredWorker, at: float) -> _Marked:
        """Return the marks of a worker; those that were not known have been set at `at`."""
        marks, worker_id = marks_of(worker), worker.status.worker_id
        marked = self._marked.get(worker.address)
        if marked is None or marked.worker_id != worker_id:
            unmarked = RegisteredWorker(worker.address, worker.status, worker.last_seen)
            marked = _Marked(worker_id, marks_of(unmarked), None)
        if marked.marks != marks:
            marked = _Marked(worker_id, marks, at)
        self._marked[worker.address] = marked
        return marked
