"""Calls of the page's events: checked before Gradio sees them, answered without server paths."""

import json
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.exceptions import InvalidPathError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve import logs
from llava_serve.errors import InvalidField, MediaUnreadable, NoSuchRoute, ServeError
from llava_serve.errors.base import RETRY_AFTER
from llava_serve.http import serving
from llava_serve.http.json_body import decode
from llava_serve.logins.user import user_of
from llava_serve.web.call_cancel import CallCancel
from llava_serve.web.event_binder import NOT_TAKEN, Data, told, told_errors
from llava_serve.web.held_answer import HeldAnswer
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.uploads import path_of, uploader, with_paths, without_paths

_API = "/gradio_api/"
_FILE = f"{_API}file="
_CALLS = (f"{_API}queue/join", f"{_API}run/")
_EVENTS = f"{_API}queue/data"
_CANCEL = f"{_API}cancel"
# What the page's script and `gradio_client` ask for; Gradio's other routes are for other pages.
_ASKED_FOR = (
    *_CALLS,
    _EVENTS,
    _CANCEL,
    _FILE,
    *(
        f"{_API}{name}"
        for name in ("upload", "heartbeat/", "startup-events", "app_id", "info", "reset")
    ),
)


class _Call(BaseModel):
    """What the page's script sends to call an event; nothing else of a body is passed on."""

    model_config = ConfigDict(strict=True)

    fn_index: int
    data: list[Any]
    event_data: Any = None
    session_hash: str | None = Field(None, max_length=100)


class Calls:
    """Middleware: what is no call of an event of `blocks` is refused before Gradio sees it.

    A body is passed on with the paths of uploads in it; an answer is sent on without them.
    """

    def __init__(self, app: ASGIApp, blocks: gr.Blocks) -> None:
        self._app = app
        self._blocks = blocks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if "\0" in scope["path"]:
                raise NoSuchRoute(scope["method"], scope["path"], 404)
            if scope["path"].startswith(_API):
                user = user_of(scope)
                uploader.set(user.opaque if user else "")
                scope, receive = await self._checked(scope, receive)
                send = _PathlessSend(send)
        except ServeError as exc:
            serving.log_error(exc)
            is_program = Headers(scope=scope).get("x-gradio-user") == "api"
            refused = _refusal_of_program(exc) if is_program else refusal(exc)
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        path = scope["path"]
        if path.startswith(_FILE):
            lies = _FILE + path_of(path.removeprefix(_FILE))
            return {**scope, "path": lies, "raw_path": quote(lies, safe="/=").encode()}, receive
        if not path.startswith(_ASKED_FOR):
            raise NoSuchRoute(scope["method"], path, 404)
        if path == _EVENTS:
            session = QueryParams(scope["query_string"]).get("session_hash")
            if session not in self._blocks._queue.pending_messages_per_session:
                raise NoSuchRoute(scope["method"], path, 404)
        if scope["method"] == "POST" and path.startswith((*_CALLS, _CANCEL)):
            sent = await _read(receive)
            is_cancel = path.startswith(_CANCEL)
            checked = await self._cancel(sent) if is_cancel else self._call(sent)
            body = json.dumps(checked).encode()
            headers = MutableHeaders(raw=list(scope["headers"]))
            headers["Content-Length"] = str(len(body))
            return {**scope, "headers": headers.raw}, _replay(body, receive)
        return scope, receive

    async def _cancel(self, body: bytes) -> dict[str, Any]:
        cancel = _validated(CallCancel, body)
        event = self._blocks.fns.get(cancel.fn_index)
        if event is None or event.api_visibility != "public":
            raise NoSuchRoute("event", str(cancel.fn_index), 404)
        return await cancel.carried_out()

    def _call(self, body: bytes) -> dict[str, Any]:
        call = _validated(_Call, body)
        event = self._blocks.fns.get(call.fn_index)
        if event is None or event.fn is None:
            raise NoSuchRoute("event", str(call.fn_index), 404)
        if len(call.data) != len(event.inputs):
            takes = f"has {len(call.data)} values; the event takes {len(event.inputs)}"
            raise InvalidField("data", takes)
        return {
            **call.model_dump(),
            "data": with_paths(call.data),
            "event_data": with_paths(call.event_data),
        }


def _validated(kind: type[Data], body: bytes) -> Data:
    try:
        return kind.model_validate(decode(body))
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(map(str, first["loc"])) or "body"
        raise InvalidField(field, first["msg"]) from exc


class _PathlessSend:
    """Sends an answer on without paths: JSON as a whole, a stream event by event.

    Gradio answers 500 whatever an event has told; the error that was told has a status of its own.
    """

    def __init__(self, send: Send) -> None:
        self._send = HeldAnswer(send, ("application/json",), without_paths)
        self._told: list[ServeError] = []
        told_errors.set(self._told)
        self._is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            self._is_stream = kind.startswith("text/event-stream")
            if self._told:
                message = {**message, "status": self._told[-1].status}
        elif message["type"] == "http.response.body" and self._is_stream:
            message = {**message, "body": without_paths(message.get("body", b""))}
        await self._send(message)


def refusal(error: ServeError) -> JSONResponse:
    """Return an answer whose text Gradio's script shows; it reads either of the two fields."""
    text, request_id = error_text(error).whole, logs.request_id.get()
    told = {"error": text, "detail": text, "code": error.code, "request_id": request_id}
    after = {name: value for name, value in error.headers.items() if name == RETRY_AFTER}
    return JSONResponse(told, error.status, after)


def _refusal_of_program(error: ServeError) -> JSONResponse:
    """Return an answer whose text `gradio_client` shows: of no other it reads any."""
    where = getattr(error, "param", None) or error.code
    told = {"parameter_name": where, "message": error_text(error).whole}
    return JSONResponse({"detail": [{"__type__": "validate", "is_valid": False, **told}]}, 422)


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives `body`, and after it whatever comes: the browser leaving."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

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
        except (gr.Error, ValueError, TypeError, LookupError, AttributeError) as exc:
            raise InvalidField("data", NOT_TAKEN) from exc

    blocks.process_api = process_api  # type: ignore[method-assign]
    blocks.preprocess_data = preprocess_data  # type: ignore[method-assign]
