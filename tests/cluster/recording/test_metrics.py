"""Metrics of a controller: what each request and the registry add to `/metrics`."""

from typing import Any

import pytest
from prometheus_client import generate_latest

from llava_serve.cluster.recording.metrics import ControllerMetrics, fault_of
from llava_serve.cluster.recording.request_record import RequestRecord, TokenCounts
from llava_serve.cluster.registry.dispatch import shortest_queue
from llava_serve.cluster.registry.registry import Registry
from tests.cluster.conftest import Cluster, StartWorker, chat, status_of

NAME = "llava_controller_"


@pytest.fixture
def workers() -> Registry:
    return Registry(shortest_queue)


@pytest.fixture
def metrics(workers: Registry) -> ControllerMetrics:
    return ControllerMetrics(workers, lambda: 0.0)


def record(**fields: Any) -> RequestRecord:
    usual: dict[str, Any] = {"wire": "native", "model": "echo", "worker": "http://w"}
    return RequestRecord(request_id="r", arrived_at=10.0, **usual | {"outcome": "ok"} | fields)


def value(metrics: ControllerMetrics, name: str, **labels: str) -> float | None:
    return metrics.collectors.get_sample_value(NAME + name, labels)


def test_each_duration_of_a_stream_is_observed(metrics: ControllerMetrics) -> None:
    metrics.observe(
        record(
            queue_s=1.0,
            first_byte_at=12.0,
            first_text_at=13.0,
            ended_at=17.0,
            tokens=TokenCounts(prompt_tokens=9, completion_tokens=5, image_tokens=4),
        )
    )
    sums = {
        "request_queue_time_seconds_sum": 1.0,
        "time_to_first_token_seconds_sum": 3.0,
        "request_time_per_output_token_seconds_sum": 1.0,  # 4 s for the 4 tokens behind the first
        "e2e_request_latency_seconds_sum": 7.0,
        "prompt_tokens_total": 9.0,
        "image_tokens_total": 4.0,
        "generation_tokens_total": 5.0,
    }
    assert {name: value(metrics, name, model_name="echo") for name in sums} == sums
    assert value(metrics, "first_byte_seconds_sum", wire="native") == 2.0


def test_an_answer_that_is_not_streamed_has_no_first_token(metrics: ControllerMetrics) -> None:
    tokens = TokenCounts(prompt_tokens=9, completion_tokens=5)
    metrics.observe(record(is_streamed=False, first_text_at=13.0, ended_at=17.0, tokens=tokens))
    assert value(metrics, "e2e_request_latency_seconds_count", model_name="echo") == 1.0
    assert value(metrics, "time_to_first_token_seconds_count", model_name="echo") is None
    assert value(metrics, "request_time_per_output_token_seconds_count", model_name="echo") is None


def test_one_token_has_no_gap(metrics: ControllerMetrics) -> None:
    tokens = TokenCounts(prompt_tokens=9, completion_tokens=1)
    metrics.observe(record(first_text_at=13.0, ended_at=17.0, tokens=tokens))
    assert value(metrics, "request_time_per_output_token_seconds_count", model_name="echo") is None


def test_models_that_no_worker_was_asked_for_share_one_label(metrics: ControllerMetrics) -> None:
    for i in range(100):
        unknown = record(model=f"made-up-{i}", worker=None, outcome="model_not_found", ended_at=11)
        metrics.observe(unknown)
    labels = {"model_name": "other", "outcome": "model_not_found", "fault": "client"}
    assert value(metrics, "model_requests_total", **labels) == 100.0
    assert b"made-up" not in generate_latest(metrics.collectors)


def test_a_model_keeps_its_label_when_its_last_worker_has_left(metrics: ControllerMetrics) -> None:
    metrics.observe(record(ended_at=11.0))
    metrics.observe(record(worker=None, outcome="no_worker", ended_at=11.0))
    labels = {"model_name": "echo", "outcome": "no_worker", "fault": "server"}
    assert value(metrics, "model_requests_total", **labels) == 1.0


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        ("ok", "none"),
        ("client_left", "client"),
        ("refused", "client"),
        ("context_length_exceeded", "client"),
        ("busy", "client"),
        ("failed", "server"),
        ("broken_off", "server"),
        ("workers_lost", "server"),
    ],
)
def test_every_outcome_is_somebodys_fault(outcome: str, fault: str) -> None:
    assert fault_of(outcome) == fault


def test_workers_are_read_from_the_registry(workers: Registry, metrics: ControllerMetrics) -> None:
    workers.register("http://a", status_of("one", capacity=8, queue_length=3), now=0.0)
    workers.register("http://b", status_of("two"), now=0.0)
    workers.mark_unreachable(workers.known()[1])
    shown = {
        name: (value(metrics, name, worker="http://a"), value(metrics, name, worker="http://b"))
        for name in ("worker_up", "worker_slots", "worker_queue_length")
    }
    assert shown == {
        "worker_up": (1.0, 0.0),
        "worker_slots": (8.0, 0.0),
        "worker_queue_length": (3.0, 0.0),
    }
    assert value(metrics, "model_workers", model_name="one") == 1.0
    assert value(metrics, "model_workers", model_name="two") == 0.0


def test_a_worker_that_drains_is_up_and_serves_no_model(
    workers: Registry, metrics: ControllerMetrics
) -> None:
    workers.register("http://a", status_of("one"), now=0.0)
    workers.set_draining("http://a", True)
    assert value(metrics, "worker_up", worker="http://a") == 1.0
    assert value(metrics, "model_workers", model_name="one") == 0.0
    assert value(metrics, "breaker", worker="http://a", state="closed") == 1.0


async def test_a_real_request_is_timed(cluster: Cluster, start_worker: StartWorker) -> None:
    await start_worker(cluster)
    assert (await cluster.http.post("/v1/chat/completions", json=chat(stream=True))).is_success
    shown = (await cluster.http.get("/metrics")).text
    for name in (
        "request_queue_time_seconds",
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
    ):
        assert f'{NAME}{name}_count{{model_name="echo"}} 1.0' in shown
