"""Inspection of an answer: the request that it was asked with, rebuilt from its conversation."""

from collections.abc import Callable, Sequence
from typing import Any

from llava_serve.errors import InspectionUnsupported, NoSuchRoute, RemoteError
from llava_serve.protocol.inspection import Inspection
from llava_serve.storage.media import StoredFile
from llava_serve.web.chat_service import Services
from llava_serve.web.chat_state import ChatState, Exchange
from llava_serve.web.messages import DataUri, request_body
from llava_serve.web.reply import StreamedReply

_UNSUPPORTED = (InspectionUnsupported.code, NoSuchRoute.code)
_NO_ROUTE = (404, 405, 501)  # of a worker that is none of ours


def as_asked(exchanges: Sequence[Exchange], number: int, slot: int) -> list[Exchange]:
    """Return the exchanges as they were when the reply in `slot` of one of them was asked for."""
    exchange = exchanges[number].snapshot()
    reply = exchange.replies[slot]
    text = reply.text[: reply.given]
    exchange.replies[slot] = StreamedReply(
        reply.model, text=text, asked=reply.asked, fingerprint=reply.fingerprint
    )
    return [*exchanges[:number], exchange]


def sent_body(
    exchanges: Sequence[Exchange], uri_of: Callable[[StoredFile], DataUri], slot: int
) -> dict[str, Any]:
    """Return the request that was sent in the end, for what `as_asked` returned.

    The models of a comparison got a seed, and another request without what one of them refused.
    """
    body = request_body(exchanges, uri_of, slot)
    fingerprint = exchanges[-1].replies[slot].fingerprint
    if fingerprint is None:
        return body
    if "seed" in fingerprint.parts:
        body.setdefault("seed", fingerprint.parts["seed"])
    return {name: value for name, value in body.items() if name not in fingerprint.refused}


def files_of(exchanges: Sequence[Exchange], slot: int) -> list[tuple[int, StoredFile]]:
    """Return the files that the model in `slot` gets, in their order, with their exchanges."""
    return [
        (number, file)
        for number, exchange in enumerate(exchanges)
        if not exchange.is_left_out(slot)
        for file in exchange.files
    ]


async def inspect(
    services: Services,
    conversation: ChatState,
    body: dict[str, Any],
    *,
    with_pixels: bool = False,
) -> Inspection | None:
    """Return what the model sees of a request; None where its worker cannot tell.

    Raises:
        ServeError: it would be refused, or nobody can tell at the moment.
    """
    client, user = services.link.client, conversation.asks_as
    try:
        return await client.inspect(body, with_pixels=with_pixels, user=user)
    except RemoteError as exc:
        if exc.code in _UNSUPPORTED or (exc.code == "unknown" and exc.status in _NO_ROUTE):
            return None
        raise


def reply_at(conversation: ChatState, number: int, slot: int) -> StreamedReply | None:
    """Return the reply in `slot` of an exchange; None where there is none."""
    if number < len(conversation.exchanges):
        replies = conversation.exchanges[number].replies
        return replies[slot] if slot < len(replies) else None
    return None
