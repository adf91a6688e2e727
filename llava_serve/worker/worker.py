"""The model worker: engine, gate and media together, with its status, its health, its metrics."""

import time
from collections.abc import Callable, Mapping
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llava_serve.engines.base import Engine, EngineStatus
from llava_serve.errors import ShuttingDown, Unavailable
from llava_serve.media.reader import MediaReader
from llava_serve.protocol.cluster import WorkerStatus
from llava_serve.protocol.openai import ModelCard
from llava_serve.request import Usage
from llava_serve.worker.gate import Gate

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
        self.metrics = WorkerMetrics(gate)
        self.metrics.watch(engine)

    def status(self, card: ModelCard) -> WorkerStatus:
        """Return the status that the controller gets while this worker serves `card`."""
        load = self.gate.load
        return WorkerStatus(
            model_names=[card.id],
            queue_length=load.queue_length,
            worker_id=self.worker_id,
            capacity=load.capacity,
            cards=[card],
        )

    def check_health(self) -> None:
        """Raises: Unavailable, when new requests cannot be served."""
        if not self.engine.healthy:
            raise Unavailable("the engine failed beyond repair; this worker needs a restart")
        if not self.gate.is_open:
            raise ShuttingDown
        _ = self.engine.card  # raises what keeps it from serving


class WorkerMetrics:
    """Prometheus metrics of one worker, for `GET /metrics`; `gate` is read whenever they are."""

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
            "Tokens of completed requests; prompt includes image and cached",
            ["kind"],
            registry=self._registry,
        )
        self._first_token = self._histogram(
            "time_to_first_token_seconds",
            "From the request's arrival to its first text, waiting included",
            _FIRST_TOKEN_S,
        )
        self._stage = Histogram(
            "llava_worker_stage_seconds",
            "Time of a completed request in each stage before its first token",
            ["stage"],
            buckets=_STAGE_S,
            registry=self._registry,
        )
        self._speed = self._histogram(
            "decode_tokens_per_second",
            "Tokens of one answer per second, after its first",
            _TOKENS_PER_S,
        )
        self._prefix_hits = Counter(
            "llava_worker_prefix_hits",
            "Requests that found at least half of their prompt in the prefix cache",
            registry=self._registry,
        )
        self._cancel_to_free = self._histogram(
            "cancel_to_free_seconds", "From a client's leaving to its slot being free", _CANCEL_S
        )
        self._cancelled = Counter(
            "llava_worker_cancelled", "Requests whose client left", registry=self._registry
        )
        self._gauge("running", "Answers that hold a slot").set_function(lambda: gate.running)
        self._gauge("waiting", "Answers in line for a slot").set_function(lambda: gate.waiting)
        self._gauge("slots", "Answers that can be made at once").set(gate.limit)

    def count_request(self, outcome: str) -> None:
        """Count one finished request."""
        self._requests.labels(outcome).inc()

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

    def observe_first_text(self, seconds: float) -> None:
        """Observe the time from arrival to first text."""
        self._first_token.observe(seconds)

    def observe_cancel(self, seconds_to_free: float) -> None:
        """Observe the time from a cancel until the slot was free."""
        self._cancelled.inc()
        self._cancel_to_free.observe(seconds_to_free)

    def watch(self, engine: Engine) -> None:
        """Add a gauge for each field of the engine's status, if it has one."""
        if engine.status() is None:
            return
        for field in fields(EngineStatus):

            def read(name: str = field.name) -> float:
                status = engine.status()
                return 0.0 if status is None else float(getattr(status, name))

            self._gauge(field.name, _ENGINE_GAUGES[field.name]).set_function(read)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"llava_worker_{name}", meaning, registry=self._registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"llava_worker_{name}", meaning, buckets=buckets, registry=self._registry)
