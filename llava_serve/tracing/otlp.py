"""OTLP tracer: spans of OpenTelemetry, sent in batches by a thread of its SDK."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llava_serve import __version__
from llava_serve.retry import RateLimitedWarning
from llava_serve.tracing.span import Attributes, Span, SpanKind, Tracer

logger = logging.getLogger(__name__)

_SEND_S = 3  # how long one batch may take, and the stop of a process behind its endpoint's
_KINDS = {"server": trace.SpanKind.SERVER, "client": trace.SpanKind.CLIENT}
_PROPAGATOR = TraceContextTextMapPropagator()


class OtlpSpan(Span):
    """A span that is recorded."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span)
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, self._context)
        self.headers = headers

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, code: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR, code)
        self._span.set_attribute("error.type", code)

    def add_event(self, name: str, attributes: Attributes) -> None:
        self._span.add_event(name, attributes)

    def add_stage(self, name: str, ago_s: float, lasted_s: float, attributes: Attributes) -> None:
        began_ns = time.time_ns() - int(ago_s * 1e9)
        stage = self._tracer.start_span(
            name, self._context, attributes=attributes, start_time=began_ns
        )
        stage.end(began_ns + int(lasted_s * 1e9))


class _Exporter(OTLPSpanExporter):
    """Exporter that warns of a lost batch once a minute, where the SDK's does so for each try."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout=_SEND_S)
        logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)
        self._url = url
        self._warning = RateLimitedWarning(logger)

    def export(self, batch: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(batch)
        if result is SpanExportResult.SUCCESS:
            self._warning.reset()
        else:
            self._warning.warn(
                "lost",
                "no trace reaches %s, still trying. Look whether a collector runs there, or "
                "correct --otlp-endpoint.",
                self._url,
            )
        return result


class OtlpTracer(Tracer):
    """Sends what it records to an OTLP receiver; one that is away costs spans and nothing else.

    Source: opentelemetry.io/docs/specs/otlp, "OTLP/HTTP request", for the path /v1/traces.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        url = endpoint.rstrip("/")
        if not urlsplit(url).path:
            url += "/v1/traces"
        resource = Resource.create(
            {"service.name": f"llava_serve.{service}", "service.version": __version__}
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter(url)))
        self._tracer = self._provider.get_tracer("llava_serve", __version__)

    @contextmanager
    def span(self, name: str, kind: SpanKind, headers: Mapping[str, str]) -> Iterator[Span]:
        parent = _PROPAGATOR.extract(headers)
        started = self._tracer.start_span(name, parent, _KINDS[kind])
        try:
            yield OtlpSpan(self._tracer, started)
        finally:
            started.end()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.to_thread(self._provider.shutdown)
