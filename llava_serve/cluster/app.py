"""App of the controller: registry, admission, forwarding and metrics, put together."""

import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from llava_serve import __version__
from llava_serve.accounts.accounts import Accounts
from llava_serve.cluster import routes
from llava_serve.cluster.accounting import Accounting
from llava_serve.cluster.admin_routes import Administration, admin_router
from llava_serve.cluster.admission import Admission, AdmissionPolicy
from llava_serve.cluster.canary import Canary
from llava_serve.cluster.canary_check import CanaryCheck
from llava_serve.cluster.forward_request import ForwardContext
from llava_serve.cluster.line import Line, LineLimits
from llava_serve.cluster.line_metrics import LineCollector
from llava_serve.cluster.metrics import ControllerMetrics
from llava_serve.cluster.prober import Prober
from llava_serve.cluster.registered_worker import RegisteredWorker
from llava_serve.cluster.registry import Registry
from llava_serve.cluster.registry_sync import RegistrySync
from llava_serve.cluster.request_trace import trace_request
from llava_serve.cluster.retry_budget import RetryBudget
from llava_serve.cluster.shared_state import MemoryState, SharedState
from llava_serve.cluster.upstream import Upstream, UpstreamLimits
from llava_serve.http import serving
from llava_serve.http.access import Access, ApiGuard
from llava_serve.http.body import BodyLimits
from llava_serve.http.traced import TracedRequests
from llava_serve.quota import Quota
from llava_serve.tracing.span import Tracer

_BODIES_KEPT = 4  # of the largest size, while their answers run


def build_app(  # noqa: PLR0913 - what a server is made of
    workers: Registry,
    policy: AdmissionPolicy,
    *,
    limits: UpstreamLimits | None = None,
    bodies: BodyLimits | None = None,
    waiting: LineLimits | None = None,
    access: Access | None = None,
    accounts: Accounts | None = None,
    resumes: bool = True,
    trust: ssl.SSLContext | None = None,
    canary_every_s: float = 0.0,
    state: SharedState | None = None,
    clock: Callable[[], float] = time.monotonic,
    tracer: Tracer | None = None,
) -> FastAPI:
    """Assemble a controller around `workers`; whoever `policy` admits may register.

    Without `access` it answers as one on loopback does, and without `state` it is its cluster's
    only controller. Keys of `accounts` have limits here, and requests are charged to them. It
    `resumes` the answers of lost workers, and `trust` checks the certificates of workers. Without
    `canary_every_s` no worker is asked whether it sees; `workers` should hold none back.
    """
    bodies = bodies or BodyLimits(max_bytes=50_000_000)
    upstream = Upstream(limits or UpstreamLimits(), trust, policy.token)
    accounting = Accounting(accounts) if accounts is not None else None
    prober = Prober(workers, upstream, clock)
    line = Line(workers, waiting or LineLimits(), bodies.held.total // 2, clock, prober.ask_soon)
    metrics = ControllerMetrics(workers, clock)
    metrics.collectors.register(LineCollector(line))
    name = "llava-controller-" + secrets.token_hex(8)
    check = CanaryCheck(upstream, policy.token)
    canary = Canary(workers, check, metrics.canary_checks, canary_every_s, clock)
    context = ForwardContext(
        workers,
        upstream,
        prober,
        canary,
        line,
        metrics,
        name,
        clock,
        RetryBudget(clock()),
        Quota(_BODIES_KEPT * bodies.max_bytes) if resumes else None,
        accounts,
        observers=(
            *((accounting.observe,) if accounting else ()),
            *((trace_request,) if tracer else ()),
        ),
    )
    sync = RegistrySync(
        workers, prober, state or MemoryState(clock), name, clock, watch=canary.watch
    )
    admission = Admission(workers, upstream, prober, canary, policy, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context((tracer or Tracer()).running())
            if accounts is not None and accounting is not None:
                await stack.enter_async_context(accounts.opened())
                await stack.enter_async_context(accounting.tasks)
            await stack.enter_async_context(upstream.opened())
            await stack.enter_async_context(prober.tasks)
            await stack.enter_async_context(canary.tasks)
            await stack.enter_async_context(sync.running())
            yield

    app = FastAPI(title="llava_serve controller", version=__version__, lifespan=lifespan)
    if tracer is not None:
        app.add_middleware(TracedRequests, tracer=tracer)
    app.add_middleware(ApiGuard, access=access or Access(token=policy.token))
    serving.prepare(app, bodies)
    app.include_router(routes.native_router(context))
    app.include_router(routes.llava_router(context))
    app.include_router(routes.registration_router(admission))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "workers": len(workers.alive(clock()))}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(generate_latest(metrics.collectors), media_type=CONTENT_TYPE_LATEST)

    def described_workers() -> list[dict[str, Any]]:
        now = clock()
        return [
            _described(worker, workers.lease_expired(worker, now), now)
            for worker in workers.known()
        ]

    @app.get("/workers")
    async def list_workers() -> list[dict[str, Any]]:
        return described_workers()

    administration = Administration(workers, upstream, clock)
    app.include_router(admin_router(administration, described_workers))
    return app


def _described(worker: RegisteredWorker, lease_expired: bool, now: float) -> dict[str, Any]:
    return {
        "id": worker.status.worker_id or worker.address,
        "address": worker.address,
        "state": _state(worker, lease_expired),
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


def _state(worker: RegisteredWorker, lease_expired: bool) -> str:
    if lease_expired:
        return "silent"
    if not worker.is_reachable:
        return "unreachable"
    if worker.is_draining:
        return "draining" if worker.queue_length else "drained"
    return "alive"
