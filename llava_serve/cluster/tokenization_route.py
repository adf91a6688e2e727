"""Tokenisation at the controller: passed on to a worker of the model as inspections are."""

from typing import Any

from fastapi import APIRouter, Request

from llava_serve.cluster.files.resolving import resolved
from llava_serve.cluster.forwarding.forward import Forward
from llava_serve.cluster.forwarding.forward_request import ForwardContext, ForwardRequest
from llava_serve.cluster.registry import affinity
from llava_serve.cluster.registry.image_digest import digests, sources_of
from llava_serve.cluster.upstream.wire import DETOKENIZATION, TOKENIZATION
from llava_serve.http.body import read_json
from llava_serve.protocol.openai import ChatRequest, parse_chat_request
from llava_serve.protocol.tokenization import (
    ChatToTokenize,
    TextToTokenize,
    parse_detokenization,
    parse_tokenization,
)


def tokenization_router(context: ForwardContext) -> APIRouter:
    """Return the routes of tokenisation, dispatched and counted as completions are."""
    router = APIRouter()
    answer_s = context.upstream.limits.answer_s

    @router.post(TOKENIZATION.path)
    async def tokenize(request: Request) -> Forward:
        decoded, body = await read_json(request)
        (asked, chat), _, body = await resolved(context.files, request, decoded, body, _parsed)
        sources = sources_of(chat) if chat and context.is_audited else ()
        forwarded = ForwardRequest(
            wire=TOKENIZATION,
            model=asked.model,
            via=request.headers.get("via"),
            first_byte_s=answer_s,
            is_streamed=False,
            has_images=chat is not None and chat.has_images,
            affinity=affinity.of_chat(chat) if chat else (),
            image_sha256=await digests(sources),
        )
        return Forward(context, forwarded, body)

    @router.post(DETOKENIZATION.path)
    async def detokenize(request: Request) -> Forward:
        decoded, body = await read_json(request)
        forwarded = ForwardRequest(
            wire=DETOKENIZATION,
            model=parse_detokenization(decoded).model,
            via=request.headers.get("via"),
            first_byte_s=answer_s,
            is_streamed=False,
        )
        return Forward(context, forwarded, body)

    return router


def _parsed(decoded: Any) -> tuple[TextToTokenize | ChatToTokenize, ChatRequest | None]:
    asked = parse_tokenization(decoded)
    return asked, None if isinstance(asked, TextToTokenize) else parse_chat_request(asked.chat_body)
