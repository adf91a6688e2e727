"""Traced requests: each that a model answers is a span, which continues its caller's trace."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve.protocol.error_shape import MESSAGES_PATH, OLLAMA_PATH, RESPONSES_PATH
from llava_serve.tracing import span
from llava_serve.tracing.span import Tracer

_TRACED = frozenset(
    (
        *("/v1/chat/completions", "/v1/completions", "/worker_generate_stream"),
        *(MESSAGES_PATH, RESPONSES_PATH, f"{OLLAMA_PATH}/chat", f"{OLLAMA_PATH}/generate"),
    )
)


class TracedRequests:
    """Middleware: opens a span for each request to a model, as `span.current`."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in _TRACED:
            await self._app(scope, receive, send)
            return
        name = f"{scope['method']} {scope['path']}"
        with self._tracer.span(name, "server", Headers(scope=scope)) as opened:
            opened.set({"http.request.method": scope["method"], "http.route": scope["path"]})

            async def send_noting_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    opened.set({"http.response.status_code": message["status"]})
                await send(message)

            token = span.current.set(opened)
            try:
                await self._app(scope, receive, send_noting_status)
            finally:
                span.current.reset(token)
