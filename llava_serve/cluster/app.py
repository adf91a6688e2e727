"""App of the controller: registry, admission, forwarding and metrics, put together."""

import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from fastapi import FastAPI

from llava_serve import __version__
from llava_serve.accounts.accounts import Accounts
from llava_serve.accounts.key_counts import KeyCounts
from llava_serve.cluster import routes
from llava_serve.cluster.admission import Admission, AdmissionPolicy
from llava_serve.cluster.batches.batch_routes import batch_router
from llava_serve.cluster.batches.batch_runner import BatchRunner
from llava_serve.cluster.batches.batch_store import BatchStore
from llava_serve.cluster.batches.in_flight import InFlight
from llava_serve.cluster.batches.line_asking import BatchContext
from llava_serve.cluster.completions_route import add_completions
from llava_serve.cluster.files.file_store import FileStore
from llava_serve.cluster.files.routes import files_router
from llava_serve.cluster.forwarding.forward_request import ForwardContext
from llava_serve.cluster.forwarding.retry_budget import RetryBudget
from llava_serve.cluster.health.canary import Canary
from llava_serve.cluster.health.canary_check import CanaryCheck
from llava_serve.cluster.health.prober import Prober
from llava_serve.cluster.inspection_route import inspection_router
from llava_serve.cluster.operators.admin_routes import Administration, admin_router
from llava_serve.cluster.operators.line_metrics import LineCollector
from llava_serve.cluster.operators.snapshot import Snapshots
from llava_serve.cluster.operators.status_routes import status_router
from llava_serve.cluster.recording.accounting import Accounting
from llava_serve.cluster.recording.failure_log import FailureLog
from llava_serve.cluster.recording.metrics import ControllerMetrics
from llava_serve.cluster.recording.request_trace import trace_request
from llava_serve.cluster.recording.vitals_history import VitalsHistory
from llava_serve.cluster.registry.model_list import names_of
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.sharing.registry_sync import RegistrySync
from llava_serve.cluster.sharing.shared_state import SharedState
from llava_serve.cluster.sweeping import swept
from llava_serve.cluster.tokenization_route import tokenization_router
from llava_serve.cluster.upstream.upstream import Upstream, UpstreamLimits
from llava_serve.cluster.waiting.line import Line, LineLimits
from llava_serve.http import serving
from llava_serve.http.access import Access, ApiGuard
from llava_serve.http.body import BodyLimits
from llava_serve.http.traced import TracedRequests
from llava_serve.quota import Quota
from llava_serve.storage.kept_responses import KeptResponses
from llava_serve.tracing.span import Tracer

_BODIES_KEPT = 4  # of the largest size, while their answers run
_ASKED_BY_BATCHES = 64  # requests at once, most of them in line


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """How a controller serves; by default as one on loopback, its cluster's only one.

    Keys of `accounts` have limits here, and requests are charged to them. It `resumes` the answers
    of lost workers, and `trust` checks the certificates of workers. Without `canary_every_s` no
    worker is asked whether it sees; the registry should hold none back then.
    """

    limits: UpstreamLimits = field(default_factory=UpstreamLimits)
    bodies: BodyLimits = field(default_factory=partial(BodyLimits, max_bytes=50_000_000))
    waiting: LineLimits = field(default_factory=LineLimits)
    access: Access | None = None  # None: whoever reaches it may ask
    accounts: Accounts | None = None
    resumes: bool = True
    trust: ssl.SSLContext | None = None
    canary_every_s: float = 0.0
    responses: KeptResponses | None = None  # None: none is kept
    files: FileStore | None = None  # None: no uploads
    batches: BatchStore | None = None  # None: no batches; with `files` only
    state: SharedState | None = None  # None: no other controller is told anything
    tracer: Tracer | None = None
    clock: Callable[[], float] = time.monotonic


def build_app(
    workers: Registry, policy: AdmissionPolicy, settings: ControllerSettings | None = None
) -> FastAPI:
    """Assemble a controller around `workers`; whoever `policy` admits may register."""
    settings = settings or ControllerSettings()
    clock, tracer, accounts = settings.clock, settings.tracer, settings.accounts
    context = _context(workers, policy, settings)
    upstream, prober, canary = context.upstream, context.prober, context.canary
    sync = None
    if settings.state is not None:
        keys = accounts.limits.counts if accounts is not None else KeyCounts()
        sync = RegistrySync(
            workers, prober, settings.state, context.name, clock, watch=canary.watch, keys=keys
        )
    vitals = VitalsHistory(workers)
    admission = Admission(workers, upstream, prober, canary, policy, vitals, clock)
    snapshots = Snapshots(workers, context.line, vitals, context.failures, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context((tracer or Tracer()).running())
            if accounts is not None:
                await stack.enter_async_context(accounts.opened())
            if settings.responses is not None:
                stack.callback(settings.responses.close)
            await stack.enter_async_context(upstream.opened())
            await stack.enter_async_context(prober.tasks)
            await stack.enter_async_context(canary.tasks)
            for kept in (settings.responses, settings.files, settings.batches):
                if kept is not None:
                    await stack.enter_async_context(swept(kept))
            if sync is not None:
                await stack.enter_async_context(sync.running())
            if batches is not None:
                await stack.enter_async_context(batches.running())
            yield

    app = FastAPI(
        title="llava_serve controller",
        version=__version__,
        lifespan=lifespan,
        telemetry=serving.NO_TELEMETRY,
    )
    if tracer is not None:
        app.add_middleware(TracedRequests, tracer=tracer)
    access = settings.access or Access(token=policy.token)
    app.add_middleware(ApiGuard, access=access)
    serving.prepare(app, settings.bodies, access.origins)
    batches = _batches(app, context, settings)
    _add_client_routes(app, context, settings, batches)
    app.include_router(routes.registration_router(admission))
    app.include_router(status_router(workers, context.metrics, clock))
    administration = Administration(workers, upstream, context.line, snapshots, clock)
    app.include_router(admin_router(administration))
    return app


def _add_client_routes(
    app: FastAPI,
    context: ForwardContext,
    settings: ControllerSettings,
    batches: BatchRunner | None,
) -> None:
    routes.add_forwarding(app.router, context)
    add_completions(app.router, context)
    app.include_router(tokenization_router(context))
    app.include_router(inspection_router(context))
    app.include_router(routes.native_router(context))
    app.include_router(routes.llava_router(context))
    if settings.files is not None:
        app.include_router(files_router(settings.files))
    if batches is not None and settings.batches is not None and settings.files is not None:
        app.include_router(batch_router(settings.batches, settings.files, batches.add))


def _batches(
    app: FastAPI, context: ForwardContext, settings: ControllerSettings
) -> BatchRunner | None:
    """Return what runs batches, as requests of `app`; None: there are none."""
    if settings.batches is None or settings.files is None:
        return None
    access, accounts = settings.access, settings.accounts
    most_bytes = settings.bodies.max_bytes
    batches = BatchContext(
        app=app,
        files=settings.files,
        keys=accounts.keys if accounts and access and access.find_key else None,
        models=lambda: names_of(context.workers.known()),
        in_flight=InFlight(_ASKED_BY_BATCHES, most_bytes),
        most_line_bytes=most_bytes,
        keeps_responses=settings.responses is not None,
        clock=settings.batches.clock,
    )
    return BatchRunner(settings.batches, batches)


def _context(
    workers: Registry, policy: AdmissionPolicy, settings: ControllerSettings
) -> ForwardContext:
    """Return what the requests of one controller share."""
    clock, bodies = settings.clock, settings.bodies
    upstream = Upstream(settings.limits, settings.trust, policy.token)
    prober = Prober(workers, upstream, clock)
    line = Line(workers, settings.waiting, bodies.held.total // 2, clock, prober.ask_soon)
    metrics = ControllerMetrics(workers, clock)
    metrics.collectors.register(LineCollector(line))
    check = CanaryCheck(upstream, policy.token)
    failures = FailureLog(clock)
    return ForwardContext(
        workers=workers,
        upstream=upstream,
        prober=prober,
        canary=Canary(workers, check, metrics.canary_checks, settings.canary_every_s, clock),
        line=line,
        metrics=metrics,
        name="llava-controller-" + secrets.token_hex(8),
        clock=clock,
        budget=RetryBudget(clock()),
        failures=failures,
        kept_bytes=Quota(_BODIES_KEPT * bodies.max_bytes) if settings.resumes else None,
        accounts=settings.accounts,
        responses=settings.responses,
        files=settings.files,
        observers=(
            failures.observe,
            *((Accounting(settings.accounts).observe,) if settings.accounts else ()),
            *((trace_request,) if settings.tracer else ()),
        ),
    )
