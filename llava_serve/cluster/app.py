"""The controller's app: everything it is made of, put together."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from llava_serve import __version__
from llava_serve.cluster import joining, llava_wire, native
from llava_serve.cluster.admission import Door, Trust
from llava_serve.cluster.forward import Exchange
from llava_serve.cluster.metrics import Metrics
from llava_serve.cluster.registry import Registry, Worker
from llava_serve.cluster.upstream import Limits, Upstream
from llava_serve.http import serving
from llava_serve.http.access import Access, ApiGuard
from llava_serve.http.body import BodyLimits


def build_app(  # noqa: PLR0913 - what a server is made of
    workers: Registry,
    trust: Trust,
    *,
    limits: Limits | None = None,
    bodies: BodyLimits | None = None,
    access: Access | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Assemble a controller around `workers`; whoever `trust` lets in may join them.

    Without `access` it answers as one on loopback does.
    """
    upstream = Upstream(limits or Limits())
    metrics = Metrics(workers, clock)
    name = "llava-controller-" + secrets.token_hex(8)
    exchange = Exchange(workers, upstream, metrics, name, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with upstream.opened():
            yield

    app = FastAPI(title="llava_serve controller", version=__version__, lifespan=lifespan)
    app.add_middleware(ApiGuard, access=access or Access(token=trust.token))
    serving.prepare(app, bodies or BodyLimits(max_bytes=50_000_000))
    app.include_router(native.build_router(exchange))
    app.include_router(llava_wire.build_router(exchange))
    app.include_router(joining.build_router(Door(workers, upstream, trust, clock)))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "workers": len(workers.alive(clock()))}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.collectors), media_type=CONTENT_TYPE_LATEST)

    @app.get("/workers")
    async def list_workers() -> list[dict[str, Any]]:
        now = clock()
        return [
            _described(worker, workers.is_silent(worker, now), now) for worker in workers.known()
        ]

    return app


def _described(worker: Worker, is_silent: bool, now: float) -> dict[str, Any]:
    state = "silent" if is_silent else "alive" if worker.is_reachable else "unreachable"
    return {
        "address": worker.address,
        "state": state,
        "models": worker.status.model_names,
        "wires": ["llava"] if worker.is_legacy else ["openai", "llava"],
        "speed": worker.speed,
        "in_flight": worker.in_flight,
        "queue_length": worker.queue_length,
        "load": worker.load,
        "last_seen_s": round(now - worker.last_seen, 1),
    }
