"""Span and tracer that record nothing: the interface of those that do, and what runs without.

No span holds a prompt, an answer, a picture or a key.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, overload

Attributes = Mapping[str, str | int | float | bool | Sequence[str]]
SpanKind = Literal["server", "client"]


class Span:
    """A part of a request's time in one process; `headers` hand it on to the next one."""

    headers: Mapping[str, str] = MappingProxyType({})

    def rename(self, name: str) -> None:
        """Name it anew, once it is known what it is about."""

    def set(self, attributes: Attributes) -> None:
        """Add to its attributes."""

    def fail(self, code: str) -> None:
        """Mark it as failed with the code of an error."""

    def add_event(self, name: str, attributes: Attributes) -> None:
        """Note that something happened just now."""

    def add_stage(self, name: str, ago_s: float, lasted_s: float, attributes: Attributes) -> None:
        """Add a child that began so many seconds ago."""


class Tracer:
    """Makes the spans of one process."""

    @contextmanager
    def span(self, name: str, kind: SpanKind, headers: Mapping[str, str]) -> Iterator[Span]:
        """Open a span while the body runs; `headers` may name the parent, in another process."""
        yield NO_SPAN

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Record while the body runs; at its end what is left is sent."""
        yield


NO_SPAN = Span()
# That of the request which is served, as with `logs.request_id`.
current: ContextVar[Span] = ContextVar("span", default=NO_SPAN)


@overload
def open_tracer(endpoint: str, service: str) -> Tracer: ...
@overload
def open_tracer(endpoint: None, service: str) -> None: ...
def open_tracer(endpoint: str | None, service: str) -> Tracer | None:
    """Return a tracer that sends its spans to `endpoint`; without one none, and import nothing.

    Raises:
        SystemExit: the packages that it takes are not installed.
    """
    if endpoint is None:
        return None
    try:
        from llava_serve.tracing.otlp import OtlpTracer
    except ModuleNotFoundError as exc:
        raise SystemExit(
            f"--otlp-endpoint needs OpenTelemetry, and {exc.name} is not installed. "
            'Run `python -m pip install -e ".[otel]"`.'
        ) from exc
    return OtlpTracer(endpoint, service)
