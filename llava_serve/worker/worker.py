"""The model worker: engine, gate and media together, with its status, its health, its metrics."""

import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import fields
from functools import cached_property, partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llava_serve.engines.base import Engine, EngineStatus
from llava_serve.errors import ShuttingDown, Unavailable
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.openai import ModelCard
from llava_serve.request import Usage
from llava_serve.worker.gate import Gate

_NAMESPACE = "llava_worker"
_STAGE_S = (0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_TOKENS_PER_S = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_FIRST_TOKEN_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_CANCEL_S = (0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1, 2)

_ENGINE_GAUGES = {
    "kv_tokens_total": "Tokens the KV cache has room for",
    "kv_tokens_held": "Tokens of the KV cache that running requests hold",
    "kv_tokens_cached": "Tokens of the KV cache that keep the prefixes of finished requests",
    "feature_bytes": "Memory of cached image features",
    "feature_hits": "Pictures and videos whose features were cached, since the start",
    "feature_misses": "Pictures and videos that were encoded, since the start",
}


class ModelWorker:
    """One engine that is served; `worker_id` is new for each process."""

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        media: MediaReader,
        worker_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self.gate = gate
        self.media = media
        self.worker_id = worker_id
        self.clock = clock
        self.metrics = WorkerMetrics(gate, engine)

    @cached_property
    def uncounted(self) -> "ModelWorker":
        """The same worker with metrics that nobody sees, for the controller's own checks."""
        other = copy(self)
        other.metrics = WorkerMetrics(self.gate, self.engine)
        return other

    def status(self, card: ModelCard) -> WorkerStatus:
        """Return the status that the controller gets while this worker serves `card`."""
        load = self.gate.load
        return WorkerStatus(
            model_names=[card.id],
            queue_length=load.queue_length,
            worker_id=self.worker_id,
            capacity=load.capacity,
            cards=[card],
            fingerprint=self.engine.fingerprint,
        )

    def check_health(self) -> None:
        """Raises: Unavailable, when new requests cannot be served."""
        if not self.engine.healthy:
            raise Unavailable("the engine failed beyond repair; this worker needs a restart")
        if not self.gate.is_open:
            raise ShuttingDown
        _ = self.engine.card  # raises what keeps it from serving


class WorkerMetrics:
    """Prometheus metrics of one worker; gate and engine are read whenever `GET /metrics` is."""

    def __init__(self, gate: Gate, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, namespace=_NAMESPACE, registry=self._registry)
        gauge = partial(Gauge, namespace=_NAMESPACE, registry=self._registry)
        histogram = partial(Histogram, namespace=_NAMESPACE, registry=self._registry)
        self.requests = counter(
            "requests",
            "Finished requests; outcome: completed, cancelled, failed (a bug), or the error's code",
            ["outcome"],
        )
        self._tokens = counter(
            "tokens", "Tokens of completed requests; prompt includes image and cached", ["kind"]
        )
        self.first_token_s = histogram(
            "time_to_first_token_seconds",
            "From the request's arrival to its first text, waiting included",
            buckets=_FIRST_TOKEN_S,
        )
        self._stage = histogram(
            "stage_seconds",
            "Time of a completed request in each stage before its first token",
            ["stage"],
            buckets=_STAGE_S,
        )
        self._speed = histogram(
            "decode_tokens_per_second",
            "Tokens of one answer per second, after its first",
            buckets=_TOKENS_PER_S,
        )
        self._prefix_hits = counter(
            "prefix_hits", "Requests that found at least half of their prompt in the prefix cache"
        )
        self.cancel_to_free_s = histogram(
            "cancel_to_free_seconds",
            "From a client's leaving to its slot being free",
            buckets=_CANCEL_S,
        )
        self.cancelled = counter("cancelled", "Requests whose client left")
        gauge("running", "Answers that hold a slot").set_function(lambda: gate.running)
        gauge("waiting", "Answers whose media are read, or that wait for a slot").set_function(
            lambda: gate.waiting
        )
        gauge("slots", "Answers that can be made at once").set(gate.limit)
        if engine.status() is not None:
            for field in fields(EngineStatus):
                read = partial(_read_status, engine, field.name)
                gauge(field.name, _ENGINE_GAUGES[field.name]).set_function(read)

    def count_tokens(self, usage: Usage) -> None:
        """Count the tokens of a completed request."""
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("image").inc(usage.image_tokens)
        self._tokens.labels("cached").inc(usage.cached_tokens)
        self._tokens.labels("completion").inc(usage.completion_tokens)
        if 2 * usage.cached_tokens >= usage.prompt_tokens:
            self._prefix_hits.inc()

    def observe_timings(self, timings: Mapping[str, float | None]) -> None:
        """Observe the seconds of each stage and the decode speed, where they are known."""
        for stage in ("queue", "media", "vision", "prefill"):
            seconds = timings.get(f"{stage}_s")
            if seconds is not None:
                self._stage.labels(stage).observe(seconds)
        if (speed := timings.get("decode_tokens_per_s")) is not None:
            self._speed.observe(speed)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


def _read_status(engine: Engine, field: str) -> float:
    status = engine.status()
    return 0.0 if status is None else float(getattr(status, field))
