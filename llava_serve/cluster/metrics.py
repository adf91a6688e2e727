"""Metrics of a controller, which `/metrics` shows."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llava_serve.cluster.breaker import BreakerState
from llava_serve.cluster.registry import Registry
from llava_serve.cluster.request_record import RequestRecord


class ControllerMetrics:
    """Counts of one controller, in a collector registry of its own."""

    def __init__(self, workers: Registry, clock: Callable[[], float]) -> None:
        self.collectors = CollectorRegistry()
        self.collectors.register(_WorkerCollector(workers, clock))
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
        self.resumed = Counter(
            "llava_controller_resumed",
            "Streams whose worker was lost in mid-answer and that another one went on with.",
            ["wire"],
            registry=self.collectors,
        )
        self.canary_checks = Counter(
            "llava_controller_canary_checks",
            "Checks of workers for sight by outcome: sees, blind, unclear or unanswered.",
            ["outcome"],
            registry=self.collectors,
        )
        self.first_byte_seconds = Histogram(
            "llava_controller_first_byte_seconds",
            "Time from a request's arrival to the first byte of its worker's answer.",
            ["wire"],
            registry=self.collectors,
        )

    def observe(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        self.requests.labels(record.wire, record.outcome).inc()
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
        breaker = GaugeMetricFamily(
            "llava_controller_breaker",
            "Circuit breaker of a worker: 1 in the state that it is in.",
            labels=["worker", "state"],
        )
        sees = GaugeMetricFamily(
            "llava_controller_worker_sees",
            "1: the worker's answers follow pictures; 0: they do not. Absent where nobody knows.",
            labels=["worker"],
        )
        for worker in self._workers.known():
            in_flight.add_metric([worker.address], worker.in_flight)
            if worker.sees is not None:
                sees.add_metric([worker.address], worker.sees)
            for state in BreakerState:
                breaker.add_metric([worker.address, state], worker.breaker.state is state)
        yield in_flight
        yield breaker
        yield sees
