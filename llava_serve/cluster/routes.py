"""Routes of the controller: the native wire, LLaVA's own wire, and registration of workers."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from llava_serve.adapters.ollama.routes import ollama_router
from llava_serve.adapters.routes import add_adapters
from llava_serve.cluster.admission import Admission
from llava_serve.cluster.files.resolving import resolved
from llava_serve.cluster.forwarding.forward import Forward
from llava_serve.cluster.forwarding.forward_request import ForwardContext, ForwardRequest
from llava_serve.cluster.forwarding.llava_chat import has_only_llava_workers, llava_chat
from llava_serve.cluster.inspection_route import answer_inspection
from llava_serve.cluster.recording.token_estimate import estimate_llava_tokens, estimate_tokens
from llava_serve.cluster.registry import affinity
from llava_serve.cluster.registry.image_digest import digests, sources_of
from llava_serve.cluster.registry.model_list import models_of, names_of
from llava_serve.cluster.response_routes import response_router
from llava_serve.cluster.upstream.wire import LLAVA, NATIVE
from llava_serve.errors import InvalidField, ModelNotFound, NoWorker
from llava_serve.http.body import read_json
from llava_serve.http.caller import caller_of
from llava_serve.http.json_body import JsonRoute
from llava_serve.http.plain_route import PlainRoute
from llava_serve.protocol.client_fields import client_fields
from llava_serve.protocol.cluster import Deregistration, Heartbeat, HeartbeatAnswer, Registration
from llava_serve.protocol.llava import AddressAnswer, ModelNames, ModelQuery
from llava_serve.protocol.model_card import ModelCard, ModelList, NamedModel
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.protocol.resume import RESUME_TOKENS
from llava_serve.protocol.usage import HEADER


def add_forwarding(router: APIRouter, context: ForwardContext) -> None:
    """Add the routes whose requests are passed on to a worker: of both wires, and of adapters."""
    limits = context.upstream.limits

    async def answer_chat(request: Request, decoded: Any, body: bytes) -> Response:
        chat, decoded, body = await resolved(
            context.files, request, decoded, body, parse_chat_request
        )
        forwarded = ForwardRequest(
            wire=NATIVE,
            model=chat.model,
            via=request.headers.get("via"),
            first_byte_s=limits.first_byte_s if chat.stream else limits.answer_s,
            is_streamed=bool(chat.stream),
            is_resumable=bool(chat.stream) and chat.n in (None, 1) and not chat.logprobs,
            has_images=chat.has_images,
            affinity=affinity.of_chat(chat),
            answers=chat.n or 1,
            cost=estimate_tokens(chat),
            counts_tokens=HEADER in request.headers,
            image_sha256=await digests(sources_of(chat)) if context.is_audited else (),
            client_fields=client_fields(decoded) if context.is_audited else {},
        )
        if has_only_llava_workers(context.workers, chat.model, context.clock()):
            return await llava_chat(context, chat, forwarded)
        return Forward(context, forwarded, body)

    async def chat_completions(request: Request) -> Response:
        return await answer_chat(request, *await read_json(request))

    async def worker_generate_stream(request: Request) -> Forward:
        decoded, body = await read_json(request)
        model = decoded.get("model") if isinstance(decoded, dict) else None
        if not isinstance(model, str):
            raise InvalidField("model", "must be the name of a model")
        if RESUME_TOKENS in decoded:  # which a worker believes this controller about
            raise InvalidField(RESUME_TOKENS, "is no field of this wire")
        prompt, images = _prompt_of(decoded)
        forwarded = ForwardRequest(
            wire=LLAVA,
            model=model,
            via=request.headers.get("via"),
            first_byte_s=limits.first_byte_s,
            is_resumable=True,
            has_images=bool(images),
            affinity=affinity.of_llava(prompt, images),
            cost=estimate_llava_tokens(prompt, len(images), decoded.get("max_new_tokens")),
            prompt="" if decoded.get("echo") is False else prompt,  # it begins each text, or not
            counts_tokens=HEADER in request.headers,
            image_sha256=await digests(images) if context.is_audited else (),
        )
        return Forward(context, forwarded, body)

    for wire, endpoint in ((NATIVE, chat_completions), (LLAVA, worker_generate_stream)):
        router.add_api_route(wire.path, endpoint, methods=["POST"], route_class_override=PlainRoute)
    keeps = context.responses is not None
    add_adapters(router, answer_chat, partial(answer_inspection, context), responses=not keeps)
    router.include_router(ollama_router(partial(_models_for, context), answer_chat))
    if context.responses is not None:
        router.include_router(response_router(context.responses, answer_chat))


def _prompt_of(body: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return prompt and images of LLaVA's wire; a worker says what is wrong with others."""
    prompt, images = body.get("prompt"), body.get("images")
    return prompt if isinstance(prompt, str) else "", images if isinstance(images, list) else []


def native_router(context: ForwardContext) -> APIRouter:
    """Return the routes of the native wire that the controller answers itself: models."""
    router = APIRouter()

    @router.get("/v1/models")
    async def models(request: Request) -> ModelList:
        return ModelList(data=_models_for(context, request))

    @router.get("/v1/models/{model:path}")
    async def one_model(model: str, request: Request) -> ModelCard | NamedModel:
        served = {each.id: each for each in _models_for(context, request)}
        if model not in served:
            raise ModelNotFound(model, list(served))
        return served[model]

    return router


def _models_for(context: ForwardContext, request: Request) -> list[ModelCard | NamedModel]:
    """Return the models that the caller may ask."""
    may_ask = caller_of(request).may_ask
    alive = context.workers.alive(context.clock())
    return [model for model in models_of(alive) if may_ask(model.id)]


def llava_router(context: ForwardContext) -> APIRouter:
    """Return the routes of LLaVA's own wire that the controller answers itself."""
    router = APIRouter(route_class=JsonRoute)
    workers, clock = context.workers, context.clock

    def models_for(request: Request) -> list[str]:
        return list(filter(caller_of(request).may_ask, names_of(workers.alive(clock()))))

    @router.post("/list_models")
    async def list_models(request: Request) -> ModelNames:
        return ModelNames(models=models_for(request))

    @router.post("/get_worker_address")
    async def get_worker_address(body: ModelQuery, request: Request) -> AddressAnswer:
        if not caller_of(request).may_ask(body.model):
            return AddressAnswer(address="")
        try:
            return AddressAnswer(address=workers.address_of(body.model, clock()))
        except NoWorker:
            return AddressAnswer(address="")

    @router.post("/worker_get_status")
    async def worker_get_status(request: Request) -> dict[str, Any]:
        """All workers as one, out of the registry: two controllers never poll each other."""
        alive = workers.alive(clock())
        return {
            "model_names": models_for(request),
            "speed": sum(worker.speed for worker in alive),
            "queue_length": sum(worker.queue_length for worker in alive),
        }

    return router


def registration_router(admission: Admission) -> APIRouter:
    """Return the routes by which workers register and leave, the same for ours and for LLaVA's."""
    router = APIRouter(route_class=JsonRoute)

    @router.post("/register_worker")
    async def register_worker(body: Registration, request: Request) -> None:
        await admission.register(body, request)

    @router.post("/receive_heart_beat")
    async def receive_heart_beat(body: Heartbeat, request: Request) -> HeartbeatAnswer:
        return HeartbeatAnswer(exist=admission.heartbeat(body, request))

    @router.post("/deregister_worker")
    async def deregister_worker(body: Deregistration, request: Request) -> None:
        admission.deregister(body.worker_name, request)

    @router.post("/refresh_all_workers")
    async def refresh_all_workers() -> None:
        await admission.refresh()

    return router
