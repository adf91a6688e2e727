"""Calls of the page's events: checked before Gradio sees them, answered without server paths."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.exceptions import InvalidPathError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve import logs
from llava_serve.errors import InvalidField, MediaUnreadable, NoSuchRoute, ServeError
from llava_serve.http import serving
from llava_serve.http.json_body import decode
from llava_serve.web.upload_names import path_of, with_paths, without_paths
from llava_serve.web.wiring import told

_API = "/gradio_api/"
_FILE = f"{_API}file="
_CALLS = (f"{_API}queue/join", f"{_API}run/")
# Other ways to call an event, for programs; the page's events are no API.
_FOR_PROGRAMS = (f"{_API}call/", f"{_API}api/")


class Calls:
    """Middleware: `number_of_inputs` says how many values an event takes, None of one not known.

    A body is passed on with the paths of uploads in it; an answer is sent on without them.
    """

    def __init__(self, app: ASGIApp, number_of_inputs: Callable[[int], int | None]) -> None:
        self._app = app
        self._number_of_inputs = number_of_inputs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_API):
            await self._app(scope, receive, send)
            return
        try:
            scope, receive = await self._checked(scope, receive)
        except ServeError as exc:
            serving.log_error(exc)
            await _refusal(exc)(scope, receive, send)
            return
        await self._app(scope, receive, _Answer(send))

    async def _checked(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        path = scope["path"]
        if path.startswith(_FILE):
            lies = _FILE + path_of(path.removeprefix(_FILE))
            return {**scope, "path": lies, "raw_path": quote(lies, safe="/=").encode()}, receive
        if path.startswith(_FOR_PROGRAMS):
            raise NoSuchRoute(scope["method"], path, 404)
        if scope["method"] == "POST" and path.startswith(_CALLS):
            body = json.dumps(self._call(await _read(receive))).encode()
            headers = MutableHeaders(raw=list(scope["headers"]))
            headers["Content-Length"] = str(len(body))
            return {**scope, "headers": headers.raw}, _replay(body, receive)
        return scope, receive

    def _call(self, body: bytes) -> dict[str, Any]:
        call = decode(body)
        if not isinstance(call, dict) or not isinstance(call.get("data"), list):
            raise InvalidField("data", "is no list")
        number = call.get("fn_index")
        takes = self._number_of_inputs(number) if type(number) is int else None
        if takes is None:
            raise NoSuchRoute("event", repr(number)[:40], 404)
        if len(call["data"]) < takes:
            raise InvalidField("data", f"has {len(call['data'])} values; the event takes {takes}")
        return {**call, "data": with_paths(call["data"])}


class _Answer:
    """Sends an answer on without paths: JSON as a whole, a stream event by event."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None  # of an answer that is held until it is whole
        self._held = b""
        self._is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            self._is_stream = kind.startswith("text/event-stream")
            if kind.startswith("application/json"):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._is_stream:
            message = {**message, "body": without_paths(message.get("body", b""))}
        elif message["type"] == "http.response.body" and self._start is not None:
            self._held += message.get("body", b"")
            if message.get("more_body", False):
                return
            message = {**message, "body": without_paths(self._held)}
            MutableHeaders(scope=self._start)["Content-Length"] = str(len(message["body"]))
            await self._send(self._start)
        await self._send(message)


def _refusal(error: ServeError) -> JSONResponse:
    """Return an answer whose text Gradio's script shows; it reads either of the two fields."""
    text, request_id = error.for_user, logs.request_id.get()
    told = {"error": text, "detail": text, "code": error.code, "request_id": request_id}
    return JSONResponse(told, error.status)


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives `body`, and after it whatever comes: the browser leaving."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def in_our_words(blocks: gr.Blocks) -> None:
    """Let every failure of an event be told as ours: Gradio would show "Error" and no more.

    A value that a control does not take is the caller's to mend, and no bug with a traceback.
    """
    process, preprocess = blocks.process_api, blocks.preprocess_data

    async def process_api(*args: Any, **named: Any) -> Any:
        with told():
            return await process(*args, **named)

    async def preprocess_data(*args: Any, **named: Any) -> Any:
        try:
            return await preprocess(*args, **named)
        except InvalidPathError as exc:
            raise MediaUnreadable("a file was not uploaded through this page") from exc
        except (gr.Error, ValueError, TypeError, LookupError) as exc:
            raise InvalidField("data", "has a value that its control does not take") from exc

    blocks.process_api = process_api  # type: ignore[method-assign]
    blocks.preprocess_data = preprocess_data  # type: ignore[method-assign]
