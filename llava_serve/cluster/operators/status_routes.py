"""Status routes of the controller: its health, its metrics, and each worker as it is."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from llava_serve.cluster.recording.metrics import ControllerMetrics
from llava_serve.cluster.registry.registered_worker import RegisteredWorker
from llava_serve.cluster.registry.registry import Registry


def status_router(
    workers: Registry, metrics: ControllerMetrics, clock: Callable[[], float]
) -> APIRouter:
    """Return the routes for whoever watches a controller."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "workers": len(workers.alive(clock()))}

    @router.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.collectors), media_type=CONTENT_TYPE_LATEST)

    @router.get("/workers")
    async def list_workers() -> list[dict[str, Any]]:
        return describe_workers(workers, clock())

    return router


def describe_workers(workers: Registry, now: float) -> list[dict[str, Any]]:
    """Return all that is known of each worker, for operators to read."""
    return [
        _described(worker, workers.lease_expired(worker, now), now) for worker in workers.known()
    ]


def _described(worker: RegisteredWorker, lease_expired: bool, now: float) -> dict[str, Any]:
    return {
        "id": worker.status.worker_id or worker.address,
        "address": worker.address,
        "state": state_of(worker, lease_expired),
        "breaker": worker.breaker.state,
        "models": worker.status.model_names,
        "wires": ["llava"] if worker.is_legacy else ["openai", "llava"],
        "speed": worker.speed,
        "in_flight": worker.in_flight,
        "queue_length": worker.queue_length,
        "load": worker.load,
        "sees": worker.sees,
        "sight": worker.why,
        "last_seen_s": round(now - worker.last_seen, 1),
    }


def state_of(worker: RegisteredWorker, lease_expired: bool) -> str:
    """Return how a worker is, in one word."""
    if lease_expired:
        return "silent"
    if not worker.is_reachable:
        return "unreachable"
    if worker.is_draining:
        return "draining" if worker.queue_length else "drained"
    return "alive"
