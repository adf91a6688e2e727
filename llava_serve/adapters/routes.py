"""Routes of the adapters, added to whatever answers chat completions."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.responses import Response

from llava_serve.adapters.adapted_response import AdaptedResponse
from llava_serve.adapters.adapter import AdaptedRequest, Adapter, KeepAnswer
from llava_serve.adapters.messages.request import COUNT_TOKENS, MESSAGES
from llava_serve.adapters.responses.request import RESPONSES
from llava_serve.errors import ResponsesNotKept
from llava_serve.http.body import limits_of, read_json
from llava_serve.http.plain_route import PlainRoute
from llava_serve.http.shaped_errors import add_source
from llava_serve.http.text_meter import TextMeter

_CHAT = "/v1/chat/completions"
# Answers what a request was made to, given its decoded and its encoded body.
Answer = Callable[[Request, Any, bytes], Awaitable[Response]]


def add_adapters(
    router: APIRouter, answer_chat: Answer, answer_inspection: Answer, *, responses: bool = True
) -> None:
    """Add the route of each adapter, whose requests the native wire's own functions answer.

    Without `responses` somebody else has that one, who keeps them.
    """
    served = [(MESSAGES, answer_chat), (COUNT_TOKENS, answer_inspection)]
    if responses:
        served.append((RESPONSES, answer_chat))
        kept = RESPONSES.path + "/{response_id}"
        methods = ["GET", "DELETE"]
        router.add_api_route(kept, _refuse_kept, methods=methods, include_in_schema=False)
    for adapter, answer in served:
        router.add_api_route(
            adapter.path,
            _endpoint(adapter, answer),
            methods=["POST"],
            route_class_override=PlainRoute,
        )


async def _refuse_kept(response_id: str) -> None:
    raise ResponsesNotKept("response_id")


def _endpoint(adapter: Adapter, answer: Answer) -> Callable[[Request], Awaitable[AdaptedResponse]]:
    async def endpoint(request: Request) -> AdaptedResponse:
        adapted = adapter.read((await read_json(request))[0])
        return await adapted_response(request, adapted, answer)

    return endpoint


async def adapted_response(
    request: Request, adapted: AdaptedRequest, answer: Answer, keep: KeepAnswer | None = None
) -> AdaptedResponse:
    """Return the response of `answer` in the words of a protocol; `keep` gets it where it is whole.

    Raises:
        TextTooLarge: more was made of the body than may come in as one.
    """
    add_source(request, adapted.source_of)
    body, limits = to_json(adapted.chat), limits_of(request)
    # On the way in, more of a body may pass for media than on the native wire.
    TextMeter(limits.max_text_bytes, _CHAT).feed(body)
    response = await answer(request, adapted.chat, body)
    return AdaptedResponse(response, adapted.adapt_whole, adapted.events, keep)
