"""Metrics of a controller, which `/metrics` shows."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llava_serve.cluster.line import Line
from llava_serve.cluster.registry import Registry
from llava_serve.cluster.request_record import RequestRecord
from llava_serve.errors import LineFull, LineTimeout, OwnLineFull

_QUEUE_S = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
_REFUSED = {LineFull.code, OwnLineFull.code, LineTimeout.code}


class ControllerMetrics:
    """Counts of one controller, in a collector registry of its own."""

    def __init__(self, workers: Registry, line: Line, clock: Callable[[], float]) -> None:
        self.collectors = CollectorRegistry()
        self.collectors.register(_WorkerCollector(workers, clock))
        self.collectors.register(_LineCollector(line))
        self.requests = Counter(
            "llava_controller_requests",
            "Requests by wire and outcome: ok, client_left, refused (the worker said no), failed "
            "(the worker said it failed), broken_off (by a bug or the controller's stop), or the "
            "code of the error where it is one of llava_serve's.",
            ["wire", "outcome"],
            registry=self.collectors,
        )
        self.taken_back = Counter(
            "llava_controller_taken_back",
            "Requests taken back from a worker that gave no answer, to ask another one.",
            ["wire"],
            registry=self.collectors,
        )
        self.first_byte_seconds = Histogram(
            "llava_controller_first_byte_seconds",
            "Time from a request's arrival to the first byte of its worker's answer.",
            ["wire"],
            registry=self.collectors,
        )
        self.queue_seconds = Histogram(
            "llava_controller_queue_seconds",
            "Time that a request waited in line for a free slot, 0 where one was free.",
            ["wire"],
            buckets=_QUEUE_S,
            registry=self.collectors,
        )
        self.refused = Counter(
            "llava_controller_line_refused",
            "Requests that the line did not take or keep, by the code of their error.",
            ["reason"],
            registry=self.collectors,
        )

    def observe(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self.requests.labels(record.wire, record.outcome).inc()
        self.queue_seconds.labels(record.wire).observe(record.queue_s)
        if record.outcome in _REFUSED:
            self.refused.labels(record.outcome).inc()
        if record.first_byte_at is not None:
            took_s = record.first_byte_at - record.arrived_at
            self.first_byte_seconds.labels(record.wire).observe(took_s)


class _WorkerCollector(Collector):
    """Reads the registry of workers at each scrape: there is no second count to keep in step."""

    def __init__(self, workers: Registry, clock: Callable[[], float]) -> None:
        self._workers = workers
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        alive = self._workers.alive(self._clock())
        yield GaugeMetricFamily(
            "llava_controller_workers_alive", "Workers in dispatch.", value=len(alive)
        )
        in_flight = GaugeMetricFamily(
            "llava_controller_in_flight",
            "Requests that were sent to a worker and still run.",
            labels=["worker"],
        )
        for worker in self._workers.known():
            in_flight.add_metric([worker.address], worker.in_flight)
        yield in_flight


class _LineCollector(Collector):
    """Reads the waiting lines at each scrape."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily(
            "llava_controller_waiting",
            "Requests that wait in line for a free slot of their model.",
            labels=["model"],
        )
        for model, length in self._line.lengths().items():
            waiting.add_metric([model], length)
        yield waiting
