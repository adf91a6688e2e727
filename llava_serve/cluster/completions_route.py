"""Text completions at the controller: passed on to a worker as chat completions are."""

from fastapi import APIRouter, Request

from llava_serve.cluster.forwarding.forward import Forward
from llava_serve.cluster.forwarding.forward_request import ForwardContext, ForwardRequest
from llava_serve.cluster.recording.token_estimate import estimate_text_tokens
from llava_serve.cluster.registry import affinity
from llava_serve.cluster.upstream.wire import COMPLETIONS
from llava_serve.http.body import read_json
from llava_serve.http.plain_route import PlainRoute
from llava_serve.protocol.client_fields import client_fields
from llava_serve.protocol.completions import parse_completion_request
from llava_serve.protocol.usage import HEADER


def add_completions(router: APIRouter, context: ForwardContext) -> None:
    """Add the route of text completions."""
    limits = context.upstream.limits

    async def completions(request: Request) -> Forward:
        decoded, body = await read_json(request)
        asked = parse_completion_request(decoded)
        forwarded = ForwardRequest(
            wire=COMPLETIONS,
            model=asked.model,
            via=request.headers.get("via"),
            first_byte_s=limits.first_byte_s if asked.stream else limits.answer_s,
            is_streamed=bool(asked.stream),
            is_resumable=bool(asked.stream) and asked.answers == 1 and asked.logprobs is None,
            affinity=affinity.of_text(asked.prompt[0]),
            answers=asked.answers,
            cost=estimate_text_tokens(asked.prompt, asked.most_tokens * asked.answers),
            counts_tokens=HEADER in request.headers,
            client_fields=client_fields(decoded) if context.is_audited else {},
        )
        return Forward(context, forwarded, body)

    router.add_api_route(
        COMPLETIONS.path, completions, methods=["POST"], route_class_override=PlainRoute
    )
