"""Metrics of a worker, which `/metrics` shows.

What means the same as in vLLM has its name, behind `llava_worker_` in place of `vllm:`.
Source: vllm-project/vllm, vllm/v1/metrics/loggers.py::PrometheusStatLogger, of version 0.12.
"""

from collections import Counter as CounterOf
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llava_serve.engines.base import Engine, EngineStatus
from llava_serve.errors import Unavailable
from llava_serve.request import FinishReason, Usage
from llava_serve.worker.gate import Gate

_NAMESPACE = "llava_worker"
_STAGE_S = (0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_TOKENS_PER_S = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_FIRST_TOKEN_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
_GAP_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
_TOTAL_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_CANCEL_S = (0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1, 2)

_ENGINE_GAUGES = {
    "kv_tokens_total": "Tokens the KV cache has room for",
    "kv_tokens_held": "Tokens of the KV cache that running requests hold",
    "kv_tokens_cached": "Tokens of the KV cache that keep the prefixes of finished requests",
    "feature_bytes": "Memory of cached image features",
    "feature_hits": "Pictures and videos whose features were cached, since the start",
    "feature_misses": "Pictures and videos that were encoded, since the start",
}


class WorkerMetrics:
    """Prometheus metrics of one worker; gate and engine are read whenever `GET /metrics` is."""

    def __init__(self, gate: Gate, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_StateCollector(gate, engine))
        self.token_sums = CounterOf[str]()  # generated ones grow with each delta
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
        self._success = counter(
            "request_success", "Completed answers by the reason of their end", ["finished_reason"]
        )
        self._prompt_tokens = counter(
            "prompt_tokens", "Tokens of prompts, those of images and cached ones included"
        )
        self._generation_tokens = counter("generation_tokens", "Tokens of answers")
        self._prefix_queries = counter(
            "prefix_cache_queries", "Tokens of prompts that were looked up in the prefix cache"
        )
        self._prefix_tokens = counter(
            "prefix_cache_hits", "Tokens of prompts that were in the prefix cache"
        )
        self._prefix_hits = counter(
            "prefix_hits", "Requests that found at least half of their prompt in the prefix cache"
        )
        self.first_token_s = histogram(
            "time_to_first_token_seconds",
            "From the request's arrival to its first text, waiting included",
            buckets=_FIRST_TOKEN_S,
        )
        self.gap_s = histogram(
            "inter_token_latency_seconds",
            "Between a text of an answer and the next one",
            buckets=_GAP_S,
        )
        self.total_s = histogram(
            "e2e_request_latency_seconds",
            "From the request's arrival to its end, whatever the outcome",
            buckets=_TOTAL_S,
        )
        self._durations = {
            "queue_s": histogram(
                "request_queue_time_seconds",
                "Time in the worker's line and the engine's",
                buckets=_STAGE_S,
            ),
            "prefill_s": histogram(
                "request_prefill_time_seconds",
                "From the KV cache's allocation to the first token",
                buckets=_STAGE_S,
            ),
            "decode_s": histogram(
                "request_decode_time_seconds",
                "From the first token to the last",
                buckets=_TOTAL_S,
            ),
        }
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

    def count_answer(self, reason: FinishReason) -> None:
        """Count an answer that came to its end."""
        self._success.labels(reason).inc()

    def count_tokens(self, usage: Usage) -> None:
        """Count the tokens of a completed request."""
        self.token_sums.update(prompt=usage.prompt_tokens, cached=usage.cached_tokens)
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("image").inc(usage.image_tokens)
        self._tokens.labels("cached").inc(usage.cached_tokens)
        self._tokens.labels("completion").inc(usage.completion_tokens)
        self._prompt_tokens.inc(usage.prompt_tokens)
        self._generation_tokens.inc(usage.completion_tokens)
        self._prefix_queries.inc(usage.prompt_tokens)
        self._prefix_tokens.inc(usage.cached_tokens)
        if 2 * usage.cached_tokens >= usage.prompt_tokens:
            self._prefix_hits.inc()

    def observe_timings(
        self, timings: Mapping[str, float | None], decode_s: float | None = None
    ) -> None:
        """Observe the seconds of each stage and the decode speed, where they are known."""
        for stage in ("queue", "media", "vision", "prefill"):
            seconds = timings.get(f"{stage}_s")
            if seconds is not None:
                self._stage.labels(stage).observe(seconds)
        for name, histogram in self._durations.items():
            seconds = decode_s if name == "decode_s" else timings.get(name)
            if seconds is not None:
                histogram.observe(seconds)
        if (speed := timings.get("decode_tokens_per_s")) is not None:
            self._speed.observe(speed)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _StateCollector(Collector):
    """Reads gate and engine at each scrape."""

    def __init__(self, gate: Gate, engine: Engine) -> None:
        self._gate = gate
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        running, waiting = self._gate.running, self._gate.waiting
        yield _gauge("num_requests_running", "Answers that hold a slot", running)
        yield _gauge("num_requests_waiting", "Answers that wait for a slot", waiting)
        yield self._model()
        if (status := self._engine.status()) is None:
            return
        for field in fields(EngineStatus):
            yield _gauge(field.name, _ENGINE_GAUGES[field.name], getattr(status, field.name))
        usage = status.kv_tokens_held / max(status.kv_tokens_total, 1)
        yield _gauge("kv_cache_usage_perc", "Held tokens of the KV cache, 1 for all of it", usage)
        looked_up = status.feature_hits + status.feature_misses
        yield _counter("mm_cache_queries", "Pictures and videos that were looked up", looked_up)
        yield _counter("mm_cache_hits", "Pictures and videos that were cached", status.feature_hits)

    def _model(self) -> Metric:
        """Return the served model as a label, to be joined with the other metrics."""
        info = GaugeMetricFamily(
            f"{_NAMESPACE}_model_info", "1 for the model that is served", labels=["model_name"]
        )
        with suppress(Unavailable):  # its model runs in another process, which is not there
            info.add_metric([self._engine.card.id], 1)
        return info


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_NAMESPACE}_{name}", help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(f"{_NAMESPACE}_{name}", help_text, value=value)
