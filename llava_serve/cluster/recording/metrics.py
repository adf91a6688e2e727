"""Metrics of a controller, which `/metrics` shows.

What means the same as in vLLM has its name, behind `llava_controller_` in place of `vllm:`.
Source: vllm-project/vllm, vllm/v1/metrics/loggers.py::PrometheusStatLogger, of version 0.12.
"""

from collections import Counter as CounterOf
from collections.abc import Callable, Collection, Iterable
from functools import cache, partial
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llava_serve.cluster.recording.request_record import RequestRecord, TokenCounts
from llava_serve.cluster.registry.breaker import BreakerState
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry
from llava_serve.errors import TurnTakenBack
from llava_serve.errors.base import class_of

_NAMESPACE = "llava_controller"
_WAIT_S = (0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
_TOKEN_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
_TOTAL_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
OTHER_MODELS = "other"

MetricT = TypeVar("MetricT", Counter, Histogram)


class ControllerMetrics:
    """Counts of one controller, in a collector registry of its own.

    The label `model_name` has the names of models that a worker was asked for; requests for others
    share one, because anybody may ask for anything.
    """

    def __init__(self, workers: Registry, clock: Callable[[], float]) -> None:
        self.collectors = CollectorRegistry()
        self.collectors.register(_WorkerCollector(workers, clock))
        self._models: set[str] = set()
        self._children: dict[tuple[object, tuple[str, ...]], Any] = {}
        counter = partial(Counter, namespace=_NAMESPACE, registry=self.collectors)
        histogram = partial(Histogram, namespace=_NAMESPACE, registry=self.collectors)
        of_model = ["model_name"]
        self.requests = counter(
            "requests",
            "Requests by wire and outcome: ok, client_left, refused (the worker said no), failed "
            "(the worker said it failed), broken_off (by a bug or the controller's stop), or the "
            "code of the error where it is one of llava_serve's.",
            ["wire", "outcome"],
        )
        self._model_requests = counter(
            "model_requests",
            "Requests by model, outcome and whose fault that is: none, client or server.",
            [*of_model, "outcome", "fault"],
        )
        self.taken_back = counter(
            "taken_back",
            "Requests taken back from a worker that gave no answer, to ask another one.",
            ["wire"],
        )
        self.resumed = counter(
            "resumed",
            "Streams whose worker was lost in mid-answer and that another one went on with.",
            ["wire"],
        )
        self.canary_checks = counter(
            "canary_checks",
            "Checks of workers for sight by outcome: sees, blind, unclear or unanswered.",
            ["outcome"],
        )
        self.first_byte_seconds = histogram(
            "first_byte_seconds",
            "Time from a request's arrival to the first byte of its worker's answer.",
            ["wire"],
        )
        self._queue = histogram(
            "request_queue_time_seconds",
            "Time in the controller's line, for all workers that were asked.",
            of_model,
            buckets=_WAIT_S,
        )
        self._first_token = histogram(
            "time_to_first_token_seconds",
            "From a request's arrival to the first text of its answer, of streams.",
            of_model,
            buckets=_WAIT_S,
        )
        self._per_token = histogram(
            "request_time_per_output_token_seconds",
            "Time between two tokens, the mean of each stream behind its first text.",
            of_model,
            buckets=_TOKEN_S,
        )
        self._total = histogram(
            "e2e_request_latency_seconds",
            "From a request's arrival to the end of its answer, whatever the outcome.",
            of_model,
            buckets=_TOTAL_S,
        )
        self._prompt_tokens = counter(
            "prompt_tokens", "Tokens of prompts, those of images included.", of_model
        )
        self._image_tokens = counter("image_tokens", "Tokens of images and videos.", of_model)
        self._generation_tokens = counter("generation_tokens", "Tokens of answers.", of_model)

    def observe(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        if record.worker is not None:
            self._models.add(record.model)
        model = record.model if record.model in self._models else OTHER_MODELS
        of = self._labelled
        of(self.requests, record.wire, record.outcome).inc()
        of(self._model_requests, model, record.outcome, fault_of(record.outcome)).inc()
        if record.tokens is not None:
            self._count_tokens(model, record, record.tokens)
        if not record.caller.is_batch:  # whose time says nothing of what anybody feels
            self._measure(model, record)

    def _measure(self, model: str, record: RequestRecord) -> None:
        of, arrived_at = self._labelled, record.arrived_at
        if record.first_byte_at is not None:
            of(self.first_byte_seconds, record.wire).observe(record.first_byte_at - arrived_at)
        if record.worker is not None:
            of(self._queue, model).observe(record.queue_s)
        if record.ended_at is not None:
            of(self._total, model).observe(record.ended_at - arrived_at)
        if record.is_streamed and record.first_text_at is not None:
            of(self._first_token, model).observe(record.first_text_at - arrived_at)

    def _count_tokens(self, model: str, record: RequestRecord, tokens: TokenCounts) -> None:
        of = self._labelled
        of(self._prompt_tokens, model).inc(tokens.prompt_tokens)
        of(self._image_tokens, model).inc(tokens.image_tokens)
        of(self._generation_tokens, model).inc(tokens.completion_tokens)
        further = tokens.completion_tokens - 1
        began, ended = record.first_text_at, record.ended_at
        if record.is_streamed and began is not None and ended is not None and further > 0:
            of(self._per_token, model).observe((ended - began) / further)

    def _labelled(self, metric: MetricT, *labels: str) -> MetricT:
        """Return the child of a metric; the library's own look-up takes ten times as long."""
        key = (metric, labels)
        if (child := self._children.get(key)) is None:
            child = self._children[key] = metric.labels(*labels)
        return child


@cache
def fault_of(outcome: str) -> str:
    """Return whose fault the outcome of a request is: none, client or server."""
    if outcome == "ok":
        return "none"
    if outcome in ("client_left", "refused", TurnTakenBack.code):
        return "client"
    error = class_of(outcome)
    return "client" if error is not None and error.status < 500 else "server"


class _WorkerCollector(Collector):
    """Reads the registry of workers at each scrape: there is no second count to keep in step."""

    def __init__(self, workers: Registry, clock: Callable[[], float]) -> None:
        self._workers = workers
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        now = self._clock()
        known = self._workers.known()
        alive = {worker.address for worker in self._workers.alive(now)}
        yield GaugeMetricFamily(
            f"{_NAMESPACE}_workers_alive", "Workers in dispatch.", value=len(alive)
        )
        yield _by_worker(
            "in_flight",
            "Requests that were sent to a worker and still run.",
            known,
            lambda worker: worker.in_flight,
        )
        yield _by_worker(
            "worker_up",
            "1 for a worker that lives, drained or not; 0 for one that is silent or unreachable.",
            known,
            lambda worker: worker.is_reachable and not self._workers.lease_expired(worker, now),
        )
        yield _by_worker(
            "worker_queue_length",
            "Answers that a worker makes and that wait there, whoever asked for them.",
            known,
            lambda worker: worker.queue_length,
        )
        yield _by_worker(
            "worker_slots",
            "Answers that a worker makes at once; 0 where it does not say.",
            known,
            lambda worker: worker.status.capacity or 0,
        )
        breaker = GaugeMetricFamily(
            f"{_NAMESPACE}_breaker",
            "Circuit breaker of a worker: 1 in the state that it is in.",
            labels=["worker", "state"],
        )
        sees = GaugeMetricFamily(
            f"{_NAMESPACE}_worker_sees",
            "1: the worker's answers follow pictures; 0: they do not. Absent where nobody knows.",
            labels=["worker"],
        )
        for worker in known:
            if worker.sees is not None:
                sees.add_metric([worker.address], worker.sees)
            for state in BreakerState:
                breaker.add_metric([worker.address, state], worker.breaker.state is state)
        yield breaker
        yield sees
        yield self._models(known, alive)

    def _models(self, known: Iterable[RegisteredWorker], alive: Collection[str]) -> Metric:
        served = CounterOf({name: 0 for each in known for name in each.status.model_names})
        served.update(
            name for each in known if each.address in alive for name in each.status.model_names
        )
        models = GaugeMetricFamily(
            f"{_NAMESPACE}_model_workers",
            "Workers in dispatch that serve a model, which may be 0.",
            labels=["model_name"],
        )
        for name, count in served.items():
            models.add_metric([name], count)
        return models


def _by_worker(
    name: str,
    help_text: str,
    workers: Iterable[RegisteredWorker],
    value: Callable[[RegisteredWorker], float],
) -> Metric:
    family = GaugeMetricFamily(f"{_NAMESPACE}_{name}", help_text, labels=["worker"])
    for worker in workers:
        family.add_metric([worker.address], value(worker))
    return family
