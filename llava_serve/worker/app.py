"""The worker's routes: one engine behind HTTP, on the native wire and on LLaVA's own."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from llava_serve import serving
from llava_serve.access import Access, ApiGuard
from llava_serve.body import MAX_TEXT_BYTES, BodyLimits, read_json, read_once
from llava_serve.errors import InvalidField, MediaNotAccepted, ModelNotFound, UnsupportedField
from llava_serve.media.limits import PixelReservation
from llava_serve.protocol.openai import (
    FURTHER_FIELDS,
    AnyJson,
    ChatRequest,
    JsonOfSchema,
    ModelCard,
    ModelList,
    SamplingDefaults,
    StreamOptions,
    parse_chat_request,
)
from llava_serve.request import Conversation, SamplingParams
from llava_serve.worker import llava_wire
from llava_serve.worker.answer import Answer
from llava_serve.worker.completion import CompletionBody, CompletionEvents
from llava_serve.worker.stream import KEEP_ALIVE_S
from llava_serve.worker.worker import Worker

Background = Callable[[], AbstractAsyncContextManager[object]]


def build_app(  # noqa: PLR0913 - what a server is made of
    worker: Worker,
    *,
    max_body_bytes: int,
    max_text_bytes: int = MAX_TEXT_BYTES,
    access: Access | None = None,
    background: Background = nullcontext,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> FastAPI:
    """Build the app; while it runs, it keeps `worker.media` and then `background` open."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with worker.media, background():
            yield

    app = FastAPI(title="worker", lifespan=lifespan)
    app.add_middleware(ApiGuard, access=access or Access())
    serving.prepare(app, BodyLimits(max_body_bytes, max_text_bytes))
    llava_wire.add_routes(app, worker, keep_alive_s)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        asked = parse_chat_request((await read_json(request))[0])
        check(asked, worker.engine.card)
        read_prompt = read_once(request, partial(_conversation, worker, asked))
        sampling = sampling_of(asked, worker.engine.card.sampling)
        answer = Answer(worker, read_prompt, sampling, asked.n or 1)
        if not asked.stream:
            return CompletionBody(answer, asked.model)
        options = asked.stream_options or StreamOptions()
        return CompletionEvents(answer, asked.model, options, keep_alive_s)

    @app.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=[worker.engine.card])

    @app.get("/health")
    async def health() -> dict[str, str]:
        worker.check_health()
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(worker.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _conversation(
    worker: Worker, asked: ChatRequest, reservation: PixelReservation
) -> Conversation:
    conversation = await worker.media.conversation(asked.messages, reservation)
    return conversation.continued() if asked.continue_final_message else conversation


def check(asked: ChatRequest, card: ModelCard) -> None:
    """Check a request against the model behind `card`.

    Raises:
        ModelNotFound: it is for another model.
        MediaNotAccepted: it brings what this model does not take.
        UnsupportedField: it asks for what this model's engine does not do.
        InvalidField: two fields contradict each other.
    """
    if asked.model != card.id:
        raise ModelNotFound(asked.model, [card.id])
    kinds = {part.type for message in asked.messages for part in message.parts()}
    if "image_url" in kinds and not card.accepts_images:
        raise MediaNotAccepted(card.id, "pictures")
    if "video_url" in kinds and not card.accepts_video:
        raise MediaNotAccepted(card.id, "video")
    for field, neutral in FURTHER_FIELDS.items():
        if (value := getattr(asked, field)) not in neutral and field not in card.honours:
            raise UnsupportedField(
                field, f"{_shown(value)} is not supported by this model's engine"
            )
    _check_together(asked)


def _shown(value: Any) -> str:
    return f"{value.type!r}" if isinstance(value, AnyJson | JsonOfSchema) else f"{value!r:.80}"


def _check_together(asked: ChatRequest) -> None:
    most = asked.max_completion_tokens or asked.max_tokens
    if most is not None and (asked.min_tokens or 0) > most:
        raise InvalidField("min_tokens", f"is above max_tokens, {most}")
    if asked.top_logprobs and not asked.logprobs:
        raise InvalidField("top_logprobs", "takes effect with logprobs: true only")
    if None not in (given := {asked.max_tokens, asked.max_completion_tokens}) and len(given) > 1:
        raise InvalidField("max_tokens", "differs from max_completion_tokens; send one of them")
    if asked.regex is not None and asked.response_format not in FURTHER_FIELDS["response_format"]:
        raise InvalidField("regex", "and response_format exclude each other")
    _check_continuation(asked)


def _check_continuation(asked: ChatRequest) -> None:
    """Check what goes with `continue_final_message`, whose rules are vLLM's."""
    name = "continue_final_message"
    if not asked.continue_final_message:
        if asked.add_generation_prompt is False:
            raise UnsupportedField("add_generation_prompt", f"false needs {name}: true")
        return
    last = asked.messages[-1]
    if last.role != "assistant" or any(part.type != "text" for part in last.parts()):
        raise InvalidField(name, "needs a last message of the assistant, with text alone")
    if asked.add_generation_prompt:
        raise InvalidField(name, "and add_generation_prompt exclude each other")
    for form in ("regex", "response_format"):
        if getattr(asked, form) not in FURTHER_FIELDS[form]:  # engines apply it to new text alone
            raise InvalidField(name, f"and {form} exclude each other")


def sampling_of(asked: ChatRequest, defaults: SamplingDefaults) -> SamplingParams:
    """Translate OpenAI's names into the engine's; what is left out is the checkpoint's choice.

    A `top_p` of 0 leaves the most probable token alone, whatever the temperature: that is greedy.
    """
    temperature = defaults.temperature if asked.temperature is None else asked.temperature
    top_p = defaults.top_p if asked.top_p is None else asked.top_p
    return SamplingParams(
        temperature=temperature if top_p else 0.0,
        top_p=top_p or 1.0,
        top_k=defaults.top_k if asked.top_k is None else asked.top_k,
        repetition_penalty=asked.repetition_penalty or 1.0,
        seed=asked.seed,
        max_new_tokens=asked.max_completion_tokens or asked.max_tokens,
        min_new_tokens=asked.min_tokens or 0,
        top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
        tells_usage=bool(asked.stream_options and asked.stream_options.continuous_usage_stats),
        ignore_eos=bool(asked.ignore_eos),
        stop=tuple(asked.stop),
        frequency_penalty=asked.frequency_penalty or 0.0,
        presence_penalty=asked.presence_penalty or 0.0,
        json_schema=_schema_of(asked.response_format),
        regex=asked.regex,
    )


def _schema_of(asked: object) -> str | None:
    if isinstance(asked, JsonOfSchema):
        return json.dumps(asked.json_schema.content)
    return json.dumps({"type": "object"}) if isinstance(asked, AnyJson) else None
