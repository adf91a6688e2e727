"""Failure log: the failed requests of the last hour by error, and the last ones of each worker."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llava_serve import logs
from llava_serve.cluster.recording.request_record import RequestRecord

WINDOW_S = 3600.0
LAST_OF_WORKER = 5
_BUCKET_S = 60.0
_MOST_WORKERS = 5000  # beyond it the one that failed longest ago is forgotten
_NO_FAILURES = ("ok", "client_left")


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that failed at a worker; `code` is an outcome of `RequestRecord`."""

    code: str
    at: float  # seconds on the controller's monotonic clock
    request_id: str


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How often requests ended with a code within the last hour, and when last."""

    code: str
    count: int
    last_at: float


class FailureLog:
    """Counts by the minute, so that its size is bounded however many requests fail."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: deque[tuple[float, Counter[str]]] = deque()  # with the minute's begin
        self._last_at: dict[str, float] = {}  # by code
        self._of_worker: dict[str, deque[Failure]] = {}  # by address, the latest to fail last

    def observe(self, record: RequestRecord) -> None:
        """Count a request that has ended, where it failed."""
        code = record.outcome
        if code in _NO_FAILURES:
            return
        now = self._clock()
        self._last_at[code] = now
        if not self._buckets or now - self._buckets[-1][0] >= _BUCKET_S:
            self._buckets.append((now, Counter()))
        self._buckets[-1][1][code] += 1
        self._forget(now)
        if record.worker is not None and not self._is_told(record.worker, record.request_id):
            self._add(record.worker, Failure(code, now, record.request_id))

    def blame(self, address: str, code: str) -> None:
        """Write down that a worker failed a request, which another one may answer."""
        self._add(address, Failure(code, self._clock(), logs.request_id.get()))

    def counts(self) -> list[FailureCount]:
        """Return the codes of the last hour, the most frequent first."""
        self._forget(self._clock())
        total = sum((counted for _, counted in self._buckets), Counter[str]())
        return [FailureCount(code, n, self._last_at[code]) for code, n in total.most_common()]

    def of_worker(self, address: str) -> Iterator[Failure]:
        """Yield the last failures of the worker at an address within the hour, the latest first."""
        since = self._clock() - WINDOW_S
        failures = reversed(self._of_worker.get(address, ()))
        return (failure for failure in failures if failure.at >= since)

    def _is_told(self, address: str, request_id: str) -> bool:
        return any(one.request_id == request_id for one in self._of_worker.get(address, ()))

    def _add(self, address: str, failure: Failure) -> None:
        failures = self._of_worker.pop(address, None) or deque(maxlen=LAST_OF_WORKER)
        failures.append(failure)
        self._of_worker[address] = failures
        if len(self._of_worker) > _MOST_WORKERS:
            del self._of_worker[next(iter(self._of_worker))]

    def _forget(self, now: float) -> None:
        while self._buckets and now - self._buckets[0][0] > WINDOW_S:
            self._buckets.popleft()
