"""What a worker counts and times for `GET /metrics`."""

from collections.abc import Mapping
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llava_serve.engines.base import Engine, EngineStatus
from llava_serve.request import Usage
from llava_serve.worker.gate import Gate

_STAGE_S = (0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_TOKENS_PER_S = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_FIRST_TOKEN_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_CANCEL_S = (0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1, 2)


_HELD = {
    "kv_tokens_total": "Tokens the KV cache has room for",
    "kv_tokens_held": "Places of the KV cache that running requests hold",
    "kv_tokens_cached": "Places of the KV cache that keep the prefixes of ended requests",
    "feature_bytes": "Memory of the feature rows of pictures seen before",
    "feature_hits": "Pictures and clips that needed no encoding, since the start",
    "feature_misses": "Pictures and clips that were encoded, since the start",
}

Timings = Mapping[str, float | None]


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
            "Tokens of completed requests; prompt includes image and cached",
            ["kind"],
            registry=self._registry,
        )
        self._first_token = Histogram(
            "llava_worker_time_to_first_token_seconds",
            "From the request's arrival to its first text, waiting included",
            buckets=_FIRST_TOKEN_S,
            registry=self._registry,
        )
        self._stage = Histogram(
            "llava_worker_stage_seconds",
            "Time of a completed request in each stage before its first token",
            ["stage"],
            buckets=_STAGE_S,
            registry=self._registry,
        )
        self._speed = Histogram(
            "llava_worker_decode_tokens_per_second",
            "Tokens of one answer per second, after its first",
            buckets=_TOKENS_PER_S,
            registry=self._registry,
        )
        self._prefix_hits = Counter(
            "llava_worker_prefix_hits",
            "Requests of whose prompt at least half was read before",
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
        self._gauge("running", "Answers that hold a slot").set_function(lambda: gate.running)
        self._gauge("waiting", "Answers in line for a slot").set_function(lambda: gate.waiting)
        self._gauge("slots", "Answers that can be made at once").set(gate.limit)

    def finished(self, outcome: str) -> None:
        self._requests.labels(outcome).inc()

    def counted(self, usage: Usage) -> None:
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("image").inc(usage.image_tokens)
        self._tokens.labels("cached").inc(usage.cached_tokens)
        self._tokens.labels("completion").inc(usage.completion_tokens)
        if 2 * usage.cached_tokens >= usage.prompt_tokens:
            self._prefix_hits.inc()

    def timed(self, timings: Timings) -> None:
        for stage in ("queue", "media", "vision", "prefill"):
            seconds = timings.get(f"{stage}_s")
            if seconds is not None:
                self._stage.labels(stage).observe(seconds)
        if (speed := timings.get("decode_tokens_per_s")) is not None:
            self._speed.observe(speed)

    def watch(self, engine: Engine) -> None:
        """Show what `engine` holds and how often it had something already."""
        if engine.status() is None:
            return
        for field in fields(EngineStatus):

            def read(name: str = field.name) -> float:
                status = engine.status()
                return 0.0 if status is None else float(getattr(status, name))

            self._gauge(field.name, _HELD[field.name]).set_function(read)

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
