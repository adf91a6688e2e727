"""Metrics of a worker: what each request, the gate and the engine add to `/metrics`."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from llava_serve.engines.echo import EchoEngine
from llava_serve.errors import InspectionUnsupported, SglangUnreachable
from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.model_card import ModelCard
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import (
    Delta,
    DetokenizeRequest,
    GenerateRequest,
    InspectRequest,
    Stages,
    TokenizeRequest,
    Usage,
)
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.metrics import WorkerMetrics
from llava_serve.worker.worker import ModelWorker
from tests.engines.holding import HoldingEngine
from tests.worker.conftest import ClientOf, ScriptedEngine

NAME = "llava_worker_"


def samples(text: str) -> dict[str, float]:
    """The samples without labels, or with one, by `name` or `name{label}`."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix(NAME): float(value) for name, value in lines}


async def asked(worker: ModelWorker, client_of: ClientOf, **fields: Any) -> dict[str, float]:
    app = build_app(worker, max_body_bytes=10**6)
    body = {"model": worker.engine.card.id, "messages": [{"role": "user", "content": "a b c"}]}
    async with client_of(app) as http:
        await http.post("/v1/chat/completions", json=body | fields)
        return samples((await http.get("/metrics")).text)


async def test_every_duration_of_an_answer_is_observed(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker]
) -> None:
    stages = Stages(queue_s=0.1, vision_s=0.2, prefill_s=0.3, decode_s=2.0)
    end = Delta("", "length", Usage(9, completion_tokens=3, cached_tokens=8), stages)
    engine = ScriptedEngine(Delta("a"), Delta("b"), Delta("c"), end)
    shown = await asked(make_worker(engine), client_of)
    assert shown["request_prefill_time_seconds_sum"] == 0.3
    assert shown["request_decode_time_seconds_sum"] == 2.0
    assert shown["request_queue_time_seconds_sum"] >= 0.1
    assert shown["inter_token_latency_seconds_count"] == 2.0
    assert shown["time_to_first_token_seconds_count"] == 1.0
    assert shown["e2e_request_latency_seconds_count"] == 1.0
    assert shown['request_success_total{finished_reason="length"}'] == 1.0
    assert shown["prompt_tokens_total"] == 9.0
    assert shown["generation_tokens_total"] == 3.0
    assert shown["prefix_cache_queries_total"] == 9.0
    assert shown["prefix_cache_hits_total"] == 8.0


async def test_gaps_are_within_one_answer(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker]
) -> None:
    shown = await asked(make_worker(EchoEngine()), client_of, n=2)
    assert shown["inter_token_latency_seconds_count"] == 4.0  # 2 of each
    assert shown['request_success_total{finished_reason="stop"}'] == 2.0


async def test_a_request_that_fails_takes_its_time_too(
    client_of: ClientOf, make_worker: Callable[..., ModelWorker]
) -> None:
    shown = await asked(make_worker(EchoEngine()), client_of, max_tokens=10**6)
    assert shown["e2e_request_latency_seconds_count"] == 1.0
    assert shown['requests_total{outcome="context_length_exceeded"}'] == 1.0
    assert (
        "time_to_first_token_seconds_count" not in shown
        or not shown["time_to_first_token_seconds_count"]
    )


def test_caches_are_read_from_the_engine() -> None:
    shown = samples(WorkerMetrics(Gate(4, 4), HoldingEngine("echo")).text().decode())
    assert shown["kv_cache_usage_perc"] == 0.25
    assert shown["mm_cache_queries_total"] == 4.0
    assert shown["mm_cache_hits_total"] == 3.0
    assert shown["kv_tokens_cached"] == 100.0
    assert shown['model_info{model_name="echo"}'] == 1.0


async def test_running_and_waiting_are_read_from_the_gate() -> None:
    gate = Gate(2, 4)

    async def prepared() -> None:
        return None

    async with gate.slots(2, prepared):
        shown = samples(WorkerMetrics(gate, EchoEngine()).text().decode())
    assert (shown["num_requests_running"], shown["num_requests_waiting"]) == (2.0, 0.0)
    assert (shown["running"], shown["slots"]) == (2.0, 2.0)


class AbsentEngine:
    """Its model runs in another process, which is not there."""

    healthy = True
    fingerprint: str | None = None
    slots = 1
    fingerprint = None
    precision = None

    @property
    def card(self) -> ModelCard:
        raise SglangUnreachable("http://127.0.0.1:30000", "connection refused")

    async def stream(self, _: GenerateRequest) -> AsyncGenerator[Delta]:
        yield Delta()

    async def inspect(self, _: InspectRequest) -> Inspection:
        raise InspectionUnsupported("away")

    async def tokenize(self, _: TokenizeRequest) -> Tokenization:
        raise InspectionUnsupported("away")

    async def detokenize(self, _: DetokenizeRequest) -> Detokenization:
        raise InspectionUnsupported("away")

    def status(self) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Do nothing."""


def test_a_model_that_is_away_ends_no_scrape() -> None:
    shown = samples(WorkerMetrics(Gate(1, 1), AbsentEngine()).text().decode())
    assert not any(name.startswith("model_info") for name in shown)


@pytest.mark.parametrize("name", ["kv_tokens_total", "kv_tokens_held", "feature_hits"])
def test_the_engine_has_no_gauges_where_it_keeps_nothing(name: str) -> None:
    assert name not in samples(WorkerMetrics(Gate(1, 1), EchoEngine()).text().decode())
