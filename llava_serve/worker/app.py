"""The worker's routes: one engine behind HTTP, on the native wire and on LLaVA's own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from llava_serve.adapters.ollama.routes import ollama_router
from llava_serve.adapters.routes import add_adapters
from llava_serve.errors import InvalidField, MediaNotAccepted, ModelNotFound, UnsupportedField
from llava_serve.http import serving
from llava_serve.http.access import Access, ApiGuard
from llava_serve.http.body import MAX_TEXT_BYTES, BodyLimits, read_json, read_once
from llava_serve.http.caller import caller_of
from llava_serve.http.traced import TracedRequests
from llava_serve.media.limits import PixelReservation
from llava_serve.protocol.cluster import CANARY
from llava_serve.protocol.content_part import ImagePart
from llava_serve.protocol.model_card import ModelCard, ModelList
from llava_serve.protocol.openai import (
    FURTHER_FIELDS,
    ChatRequest,
    StreamOptions,
    parse_chat_request,
)
from llava_serve.protocol.tools import NamedTool
from llava_serve.request import Conversation, SamplingParams
from llava_serve.tracing.span import Tracer
from llava_serve.worker import llava_wire, text_completion, tokenization
from llava_serve.worker.completion import CompletionBody, CompletionEvents
from llava_serve.worker.controller_options import ControllerOptions
from llava_serve.worker.inspection import InspectionBody, ReadConversation
from llava_serve.worker.sampling import check_sampled, sampling_of
from llava_serve.worker.stream import KEEP_ALIVE_S
from llava_serve.worker.tools import check_tools, tool_choice_of, tools_of
from llava_serve.worker.worker import ModelWorker

Background = Callable[[], AbstractAsyncContextManager[object]]


def build_app(  # noqa: PLR0913 - what a server is made of
    worker: ModelWorker,
    *,
    max_body_bytes: int,
    max_text_bytes: int = MAX_TEXT_BYTES,
    access: Access | None = None,
    background: Background = nullcontext,
    keep_alive_s: float = KEEP_ALIVE_S,
    tracer: Tracer | None = None,
) -> FastAPI:
    """Build the app; while it runs, it keeps `worker.media` and then `background` open."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with (tracer or Tracer()).running(), worker.media, background():
            yield

    app = FastAPI(title="worker", lifespan=lifespan, telemetry=serving.NO_TELEMETRY)
    if tracer is not None:
        app.add_middleware(TracedRequests, tracer=tracer)
    access = access or Access()
    app.add_middleware(ApiGuard, access=access)
    serving.prepare(app, BodyLimits(max_body_bytes, max_text_bytes), access.origins)
    llava_wire.add_routes(app, worker, keep_alive_s)
    text_completion.add_route(app, worker, keep_alive_s)
    tokenization.add_routes(
        app, worker, lambda request, content: _prepared(worker, request, content)[1]
    )
    _add_models(app, worker)

    answer_chat = partial(_answer_chat, worker, keep_alive_s)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        return await answer_chat(request, *await read_json(request))

    answer_inspection = partial(_answer_inspection, worker)

    @app.post("/v1/inspect")
    async def inspect(request: Request, pixels: bool = False) -> Response:
        return await answer_inspection(request, *await read_json(request), pixels=pixels)

    add_adapters(app.router, answer_chat, answer_inspection)
    app.include_router(ollama_router(lambda _: [worker.engine.card], answer_chat))

    @app.get("/health")
    async def health() -> dict[str, str]:
        worker.check_health()
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(worker.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _add_models(app: FastAPI, worker: ModelWorker) -> None:
    @app.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=[worker.engine.card])

    @app.get("/v1/models/{model:path}")
    async def one_model(model: str) -> ModelCard:
        if model != (card := worker.engine.card).id:
            raise ModelNotFound(model, [card.id])
        return card


async def _answer_chat(
    worker: ModelWorker, keep_alive_s: float, request: Request, content: Any, _: bytes
) -> Response:
    controller = ControllerOptions(request, content)
    body, read_prompt, sampling = _prepared(worker, request, content)
    is_canary = CANARY in request.headers and caller_of(request).is_insider
    asked = worker.uncounted if is_canary else worker
    generation = controller.generation(asked, read_prompt, sampling, body.n or 1)
    if not body.stream:
        return CompletionBody(generation, body.model)
    options = body.stream_options or StreamOptions()
    return CompletionEvents(generation, body.model, options, keep_alive_s, controller.resumption)


async def _answer_inspection(
    worker: ModelWorker, request: Request, content: Any, _: bytes, *, pixels: bool = False
) -> Response:
    _body, read_conversation, sampling = _prepared(worker, request, content)
    return InspectionBody(worker, read_conversation, sampling, with_pixels=pixels)


def _prepared(
    worker: ModelWorker, request: Request, content: Any
) -> tuple[ChatRequest, ReadConversation, SamplingParams]:
    """Check a decoded body; return it, what reads its conversation, and how it is answered.

    Raises:
        BadRequest: it asks for what this worker does not do.
    """
    body = parse_chat_request(content)
    check(body, worker.engine.card)
    read_conversation = read_once(request, partial(_conversation, worker, body))
    sampling = sampling_of(body, worker.engine.card.sampling)
    return body, read_conversation, replace(sampling, tool_choice=tool_choice_of(body))


async def _conversation(
    worker: ModelWorker, body: ChatRequest, reservation: PixelReservation
) -> Conversation:
    conversation = await worker.media.conversation(body.messages, reservation)
    if body.continue_final_message:
        conversation = conversation.continued()
    if not conversation.messages:
        raise InvalidField("messages", "say nothing that could be answered")
    return replace(conversation, tools=tools_of(body))


def check(body: ChatRequest, card: ModelCard) -> None:
    """Check a request against the model behind `card`.

    Raises:
        ModelNotFound: it is for another model.
        MediaNotAccepted: it brings what this model does not take.
        UnsupportedField: it asks for what this model's engine does not do.
        InvalidField: two fields contradict each other.
    """
    check_sampled(body, card)
    check_tools(body, card)
    kinds = {part.type for message in body.messages for part in message.parts()}
    if "image_url" in kinds and not card.accepts_images:
        raise MediaNotAccepted(card.id, "pictures")
    if "video_url" in kinds and not card.accepts_video:
        raise MediaNotAccepted(card.id, "video")
    if "detail" not in card.supported_params:
        _check_detail(body)
    _check_together(body)


def _check_detail(body: ChatRequest) -> None:
    for place, message in enumerate(body.messages):
        for at, part in enumerate(message.parts()):
            if isinstance(part, ImagePart) and part.image_url.detail == "low":
                raise UnsupportedField(
                    f"messages.{place}.content.{at}.image_url.detail",
                    "'low' is not supported by this model's engine",
                )


def _check_together(body: ChatRequest) -> None:
    if body.top_logprobs and not body.logprobs:
        raise InvalidField("top_logprobs", "takes effect with logprobs: true only")
    if None not in (given := {body.max_tokens, body.max_completion_tokens}) and len(given) > 1:
        raise InvalidField("max_tokens", "differs from max_completion_tokens; send one of them")
    _check_continuation(body)


def _check_continuation(body: ChatRequest) -> None:
    """Check what goes with `continue_final_message`, whose rules are vLLM's."""
    name = "continue_final_message"
    if not body.continue_final_message:
        if body.add_generation_prompt is False:
            raise UnsupportedField("add_generation_prompt", f"false needs {name}: true")
        return
    last = body.messages[-1]
    is_text = all(part.type == "text" for part in last.parts()) and not last.tool_calls
    if last.role != "assistant" or not is_text:
        raise InvalidField(name, "needs a last message of the assistant, with text alone")
    if body.add_generation_prompt:
        raise InvalidField(name, "and add_generation_prompt exclude each other")
    if body.tool_choice == "required" or isinstance(body.tool_choice, NamedTool):
        raise InvalidField(name, "and a tool_choice that asks for a call exclude each other")
    for field in ("regex", "response_format"):
        if getattr(body, field) not in FURTHER_FIELDS[field]:  # engines apply it to new text alone
            raise InvalidField(name, f"and {field} exclude each other")
