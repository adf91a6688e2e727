"""A receiver of OTLP over HTTP, which decodes what it gets as a collector does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from llava_serve.http.serving import served


@dataclass(frozen=True)
class ReceivedSpan:
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    is_error: bool
    began_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


@dataclass
class Receiver:
    address: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator["Receiver"]:
        app = FastAPI()

        @app.post("/v1/traces")
        async def traces(request: Request) -> Response:
            body = await request.body()
            self.bodies.append(body)
            self._take(ExportTraceServiceRequest.FromString(body))
            return Response(media_type="application/x-protobuf")

        async with served(app) as self.address:
            yield self

    def named(self, name: str, service: str = "") -> ReceivedSpan:
        """The only span of this name, in a process that is served under `service`."""
        (found,) = (one for one in self.spans if one.name == name and one.service.endswith(service))
        return found

    def children(self, parent: ReceivedSpan) -> list[ReceivedSpan]:
        """The spans right below one, in the order in which they began."""
        below = [one for one in self.spans if one.parent_id == parent.span_id]
        return sorted(below, key=lambda one: one.began_ns)

    def _take(self, request: ExportTraceServiceRequest) -> None:
        for process in request.resource_spans:
            service = _plain(process.resource.attributes)["service.name"]
            for one in (one for scope in process.scope_spans for one in scope.spans):
                received = ReceivedSpan(
                    service=service,
                    name=one.name,
                    trace_id=one.trace_id.hex(),
                    span_id=one.span_id.hex(),
                    parent_id=one.parent_span_id.hex(),
                    kind=one.kind,
                    is_error=one.status.code == 2,
                    began_ns=one.start_time_unix_nano,
                    ended_ns=one.end_time_unix_nano,
                    attributes=_plain(one.attributes),
                    events=[(event.name, _plain(event.attributes)) for event in one.events],
                )
                self.spans.append(received)


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one) for one in attributes}


def _value(attribute: KeyValue) -> Any:
    kind = attribute.value.WhichOneof("value")
    value = getattr(attribute.value, str(kind))
    if kind == "array_value":
        return [getattr(each, str(each.WhichOneof("value"))) for each in value.values]
    return value
