"""What a worker counts and times for `GET /metrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llava_serve.engines.base import Usage
from llava_serve.worker.gate import Gate

_FIRST_TOKEN_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_CANCEL_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)


class Metrics:
    """The instruments of one worker; they see `gate` whenever they are read."""

    def __init__(self, gate: Gate) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "llava_worker_requests",
            "Finished requests; outcome: completed, cancelled, failed (a bug), or the error's code",
            ["outcome"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "llava_worker_tokens",
            "Tokens of completed requests; prompt includes image",
            ["kind"],
            registry=self._registry,
        )
        self._first_token = Histogram(
            "llava_worker_time_to_first_token_seconds",
            "From the request's arrival to its first text, waiting included",
            buckets=_FIRST_TOKEN_S,
            registry=self._registry,
        )
        self._cancel_to_free = Histogram(
            "llava_worker_cancel_to_free_seconds",
            "From a client's leaving to its slot being free",
            buckets=_CANCEL_S,
            registry=self._registry,
        )
        self._cancelled = Counter(
            "llava_worker_cancelled", "Requests whose client left", registry=self._registry
        )
        self._gauge("running", "Requests that hold a slot").set_function(lambda: gate.running)
        self._gauge("waiting", "Requests in line for a slot").set_function(lambda: gate.waiting)
        self._gauge("slots", "Requests that can run at once").set(gate.limit)

    def finished(self, outcome: str) -> None:
        self._requests.labels(outcome).inc()

    def counted(self, usage: Usage) -> None:
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("image").inc(usage.image_tokens)
        self._tokens.labels("completion").inc(usage.completion_tokens)

    def first_text(self, seconds: float) -> None:
        self._first_token.observe(seconds)

    def cancelled(self, seconds_to_free: float) -> None:
        self._cancelled.inc()
        self._cancel_to_free.observe(seconds_to_free)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"llava_worker_{name}", meaning, registry=self._registry)
