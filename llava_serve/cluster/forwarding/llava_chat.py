"""Chat completions by workers that speak LLaVA's wire only, as they register without the token.

What comes back, each time all of the text so far, becomes OpenAI's chunks. These workers tell no
token counts: a client that asks for the usage in a stream, as nearly all do, is sent none.
"""

import json
import time
from dataclasses import replace
from functools import partial
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice as WholeChoice
from openai.types.chat.chat_completion_chunk import Choice, ChoiceDelta
from pydantic_core import from_json
from starlette.responses import JSONResponse, Response
from starlette.types import Message as Sent, Receive, Scope, Send

from llava_serve import logs
from llava_serve.chat.choosing import template_by_name
from llava_serve.chat.stops import StopMatcher
from llava_serve.chat.templates import Template
from llava_serve.cluster.forwarding.forward import Forward
from llava_serve.cluster.forwarding.forward_request import ForwardContext, ForwardRequest
from llava_serve.cluster.forwarding.llava_body import llava_body
from llava_serve.cluster.registry.dispatch import DispatchRequest
from llava_serve.cluster.registry.registry import Registry
from llava_serve.cluster.upstream.wire import LLAVA
from llava_serve.errors import LlavaWorkerFailed, LlavaWorkerFull, ServeError
from llava_serve.protocol import sse
from llava_serve.protocol.line_place import LinePlace
from llava_serve.protocol.llava import SEPARATOR, LlavaChunk
from llava_serve.protocol.openai import ChatRequest

HEADER = "X-Llava-Template"
# What a worker says in place of an answer. Source: haotian-liu/LLaVA@c121f04, model_worker.py.
_FULL = "Exceeds max token length. Please start a new conversation, thanks."


def has_only_llava_workers(workers: Registry, model: str, now: float) -> bool:
    """Tell whether a model is served, and by no worker that speaks the native wire."""
    if next(workers.candidates(DispatchRequest(model=model), now), None) is not None:
        return False
    serving = [worker for worker in workers.known() if model in worker.status.model_names]
    return bool(serving) and all(worker.is_legacy for worker in serving)


async def llava_chat(
    context: ForwardContext, chat: ChatRequest, forwarded: ForwardRequest
) -> "LlavaChat":
    """Return the response to a chat completion, which workers of LLaVA's wire are asked for.

    Raises:
        BadRequest: it asks for what these workers cannot do.
    """
    template = template_by_name(chat.model)
    body = await llava_body(chat, template)
    request = replace(
        forwarded,
        wire=LLAVA,
        is_streamed=True,
        is_resumable=False,
        first_byte_s=context.upstream.limits.first_byte_s,
        prompt=body["prompt"],
    )
    return LlavaChat(context, request, json.dumps(body).encode(), chat, template)


class LlavaChat(Response):
    """Passes the request on as one of LLaVA's wire, and translates what its client would be sent.

    Nothing is sent before the answer has text, so that an error up to then has its own status.
    """

    def __init__(
        self,
        context: ForwardContext,
        request: ForwardRequest,
        body: bytes,
        chat: ChatRequest,
        template: Template,
    ) -> None:
        super().__init__()
        self._context = context
        self._request = request
        self._body = body
        self._prompt = request.prompt
        self._is_streamed = bool(chat.stream)
        self._template = template
        self._envelope = {
            "id": f"chatcmpl-{logs.request_id.get()}",
            "created": int(time.time()),
            "model": chat.model,
        }
        self._passed: dict[str, str] = {}  # headers
        self._answer = ""  # all that the worker has said
        self._shown = ""  # what of it the client has
        self._error: ServeError | None = None
        self._is_whole = False  # the worker's answer, or the error in its place
        self._has_started = False
        self._has_role = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire = replace(
            LLAVA,
            name="llava_chat",
            encode_error=self._keep_error,
            encode_sign_of_life=_sign_of_life,
        )
        # Held by nobody else: the body, and what would be garbage in a circle.
        forward = Forward(self._context, replace(self._request, wire=wire), self._body)
        self._body = b""
        await forward(scope, receive, partial(self._take, send))
        if not self._is_whole:  # the client has left
            return
        if self._error is not None and not self._has_started:
            raise self._error
        if self._is_streamed:
            await self._end(send)
        else:
            await self._whole()(scope, receive, send)

    async def _take(self, send: Send, message: Sent) -> None:
        """Take what a client of LLaVA's would be sent: whole records of it."""
        if message["type"] == "http.response.start":
            headers = ((name.decode(), value.decode()) for name, value in message["headers"])
            self._passed = {name: value for name, value in headers if name.startswith("x-")}
            return
        for record in filter(None, message.get("body", b"").split(SEPARATOR)):
            await self._take_record(send, _decoded(record))
        self._is_whole = not message.get("more_body", False)

    async def _take_record(self, send: Send, record: dict[str, Any]) -> None:
        if record.get("error_code"):
            self._error = self._error or LlavaWorkerFailed(str(record.get("text", "")))
            return
        if place := record.get("place"):
            if self._is_streamed:
                await self._write(send, place.encode())
            return
        self._answer = str(record.get("text", ""))[len(self._prompt) :]
        if self._answer.strip() == _FULL:
            self._error = LlavaWorkerFull()
            return
        if self._is_streamed:
            await self._show(send, StopMatcher((self._template.stop,)).feed(self._answer))

    async def _show(self, send: Send, certain: str) -> None:
        """Send what is new of a text; white space around an answer is none of it."""
        certain = certain.strip()
        if not certain.startswith(self._shown):  # the worker took something back
            return
        new, self._shown = certain[len(self._shown) :], certain
        if new:
            await self._write(send, self._role() + self._event(ChoiceDelta(content=new)))
        elif self._has_started:
            await self._write(send, sse.KEEP_ALIVE)

    async def _write(self, send: Send, data: bytes) -> None:
        if not self._has_started:
            self._has_started = True
            headers = {"Content-Type": sse.MEDIA_TYPE, **sse.HEADERS, **self._own_headers()}
            encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": encoded})
        await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self, send: Send) -> None:
        if self._error is None:
            await self._show(send, self._final())
            last = self._role() + self._event(ChoiceDelta(), "stop") + sse.encode(sse.DONE)
        else:
            last = sse.encode(json.dumps(self._error.as_body(logs.request_id.get())))
        await self._write(send, last)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _role(self) -> bytes:
        """Return the event that opens the answer, once."""
        if self._has_role:
            return b""
        self._has_role = True
        return self._event(ChoiceDelta(role="assistant", content=""))

    def _whole(self) -> JSONResponse:
        message = ChatCompletionMessage(role="assistant", content=self._final().strip())
        completion = ChatCompletion(
            **self._envelope,
            object="chat.completion",
            choices=[WholeChoice(index=0, message=message, finish_reason="stop", logprobs=None)],
        )
        content = completion.model_dump(mode="json", exclude_unset=True)
        return JSONResponse(content, headers=self._own_headers())

    def _final(self) -> str:
        matcher = StopMatcher((self._template.stop,))
        return matcher.feed(self._answer) + matcher.flush()

    def _event(self, delta: ChoiceDelta, reason: Any = None) -> bytes:
        chunk = ChatCompletionChunk(
            **self._envelope,
            object="chat.completion.chunk",
            choices=[Choice(index=0, delta=delta, finish_reason=reason)],
        )
        return sse.encode(chunk.model_dump_json(exclude_unset=True))

    def _own_headers(self) -> dict[str, str]:
        told = f"{self._template.name}; rendered by the controller, from the model's name"
        return {**self._passed, HEADER: told}

    def _keep_error(self, error: ServeError) -> bytes:
        self._error = error
        return LlavaChunk.from_error(error).encode()


def _decoded(record: bytes) -> dict[str, Any]:
    """Return a record of a worker, or an error in its place where it is none."""
    try:
        decoded = from_json(record)
    except ValueError:
        decoded = None
    if isinstance(decoded, dict):
        return decoded
    return LlavaChunk(text="something that is no text", error_code=1).model_dump()


def _sign_of_life(prompt: str, place: LinePlace | None) -> bytes:
    """Return a record that says nothing of the answer, and maybe the request's place in line."""
    record = {"text": prompt} | ({"place": place.encode().decode()} if place else {})
    return json.dumps(record).encode() + SEPARATOR
