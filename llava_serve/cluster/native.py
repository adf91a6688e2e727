"""The controller's side of the native wire: chat completions and models."""

from fastapi import APIRouter, Request

from llava_serve.cluster.forward import Exchange, Forward, Job
from llava_serve.cluster.held_body import HeldBody
from llava_serve.cluster.wire import NATIVE
from llava_serve.errors import ModelNotFound
from llava_serve.http.body import read_json
from llava_serve.protocol.openai import ModelCard, ModelList, parse_chat_request


def build_router(exchange: Exchange) -> APIRouter:
    router = APIRouter()
    limits = exchange.upstream.limits

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Forward:
        decoded, body = await read_json(request)
        chat = parse_chat_request(decoded)
        job = Job(
            wire=NATIVE,
            model=chat.model,
            body=HeldBody(body, request),
            via=request.headers.get("via"),
            first_byte_s=limits.first_byte_s if chat.stream else limits.answer_s,
            is_streamed=bool(chat.stream),
            answers=chat.n or 1,
        )
        return Forward(exchange, job)

    @router.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=exchange.workers.cards(exchange.clock()))

    @router.get("/v1/models/{model:path}")
    async def one_model(model: str) -> ModelCard:
        cards = {card.id: card for card in exchange.workers.cards(exchange.clock())}
        if model not in cards:
            raise ModelNotFound(model, list(cards))
        return cards[model]

    return router
