"""Responses that are kept: gone on with by their id, shown and forgotten, each owner's own."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic_core import to_json

from llava_serve.adapters.responses.request import RESPONSES, adapt_responses
from llava_serve.adapters.routes import Answer, adapted_response
from llava_serve.errors import InvalidField, ResponseNotFound, StorageFailed
from llava_serve.http.body import grow_body, read_json
from llava_serve.http.caller import caller_of
from llava_serve.http.plain_route import PlainRoute
from llava_serve.storage.kept_responses import KeptResponses

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request in which nothing is left to be found, and what of its input was new."""

    body: dict[str, Any]
    said: list[Any]
    before: list[Any]  # what was kept
    previous_id: str | None
    is_kept: bool


def response_router(kept: KeptResponses, answer_chat: Answer) -> APIRouter:
    """Return the routes of the Responses protocol where responses are kept."""
    router = APIRouter()

    async def create(request: Request) -> Any:
        owner = caller_of(request).owner
        asked = await _unfolded(kept, owner, (await read_json(request))[0])
        if asked.before:
            await grow_body(request, len(to_json(asked.before)))
        told = {"store": asked.is_kept, "previous_response_id": asked.previous_id}
        adapted, response_id = adapt_responses(asked.body, told)
        keep = partial(_finish, kept) if asked.is_kept else None
        if asked.is_kept:
            previous_id = asked.previous_id
            await asyncio.to_thread(kept.begin, owner, response_id, asked.said, previous_id)
        return await adapted_response(request, adapted, answer_chat, keep)

    router.add_api_route(RESPONSES.path, create, methods=["POST"], route_class_override=PlainRoute)

    @router.get(RESPONSES.path + "/{response_id}")
    async def one_response(response_id: str, request: Request) -> dict[str, Any]:
        owner = caller_of(request).owner
        found = await asyncio.to_thread(kept.find, owner, response_id)
        if found is None:
            raise ResponseNotFound(response_id, "response_id")
        return found

    @router.delete(RESPONSES.path + "/{response_id}")
    async def delete_response(response_id: str, request: Request) -> dict[str, Any]:
        owner = caller_of(request).owner
        if not await asyncio.to_thread(kept.delete, owner, response_id):
            raise ResponseNotFound(response_id, "response_id")
        return {"id": response_id, "object": "response", "deleted": True}

    return router


async def _finish(kept: KeptResponses, told: dict[str, Any]) -> None:
    """Keep a response before its client knows it all; the answer is none the worse without."""
    try:
        await asyncio.to_thread(kept.finish, told)
    except StorageFailed as exc:
        logger.warning("the response is not kept: %s", exc.message)


async def _unfolded(kept: KeptResponses, owner: str, body: Any) -> _Asked:
    """Put what is kept into a decoded body.

    Raises:
        InvalidField: a field of it is not what it should be.
        ResponseNotFound: nothing of this owner's is kept under an id.
    """
    if not isinstance(body, dict):
        raise InvalidField("body", "must be a JSON object")
    body = dict(body)
    previous_id, store = body.pop("previous_response_id", None), body.pop("store", None)
    if not isinstance(previous_id, str | None):
        raise InvalidField("previous_response_id", "must be the id of a response")
    if not isinstance(store, bool | None):
        raise InvalidField("store", "must be true or false")
    said, before = body.get("input"), None
    items = [{"role": "user", "content": said}] if isinstance(said, str) else said
    if isinstance(items, list):
        items = [await _resolved(kept, owner, item, at) for at, item in enumerate(items)]
        body["input"] = items
        if previous_id is not None:
            before = await asyncio.to_thread(kept.conversation, owner, previous_id)
            if before is None:
                raise ResponseNotFound(previous_id, "previous_response_id")
            body["input"] = before + items
    return _Asked(body, items, before or [], previous_id, is_kept=store is not False)


async def _resolved(kept: KeptResponses, owner: str, item: Any, at: int) -> Any:
    """Return what an item refers to by its id, or the item."""
    if not (isinstance(item, dict) and item.get("type") == "item_reference"):
        return item
    item_id = str(item.get("id"))
    response_id = "resp_" + item_id.removeprefix("msg_")
    found = await asyncio.to_thread(kept.find, owner, response_id)
    if found is None:
        raise ResponseNotFound(item_id, f"input.{at}")
    return found["output"][0]
