"""Inspection route of the controller: passed on to the worker that has the request's pictures."""

from typing import Any

from fastapi import APIRouter, Request

from llava_serve.cluster.files.resolving import resolved
from llava_serve.cluster.forwarding.forward import Forward
from llava_serve.cluster.forwarding.forward_request import ForwardContext, ForwardRequest
from llava_serve.cluster.registry import affinity
from llava_serve.cluster.registry.image_digest import digests, sources_of
from llava_serve.cluster.upstream.wire import INSPECTION, INSPECTION_WITH_PIXELS
from llava_serve.http.body import read_json
from llava_serve.protocol.openai import parse_chat_request


def inspection_router(context: ForwardContext) -> APIRouter:
    """Return the route of inspections, which are dispatched and counted as completions are."""
    router = APIRouter()

    @router.post(INSPECTION.path)
    async def inspect(request: Request, pixels: bool = False) -> Forward:
        decoded, body = await read_json(request)
        return await answer_inspection(context, request, decoded, body, pixels=pixels)

    return router


async def answer_inspection(
    context: ForwardContext, request: Request, decoded: Any, body: bytes, *, pixels: bool = False
) -> Forward:
    """Return the answer of a worker, given the decoded and the encoded body.

    Raises:
        BadRequest: it is no request that can be inspected.
    """
    chat, decoded, body = await resolved(context.files, request, decoded, body, parse_chat_request)
    forwarded = ForwardRequest(
        wire=INSPECTION_WITH_PIXELS if pixels else INSPECTION,
        model=chat.model,
        via=request.headers.get("via"),
        first_byte_s=context.upstream.limits.answer_s,
        is_streamed=False,
        has_images=chat.has_images,
        affinity=affinity.of_chat(chat),
        image_sha256=await digests(sources_of(chat)) if context.is_audited else (),
    )
    return Forward(context, forwarded, body)
