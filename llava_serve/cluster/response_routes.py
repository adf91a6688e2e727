"""Responses that are kept: gone on with by their id, shown and forgotten, each owner's own."""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve.adapters.responses.request import RESPONSES, adapt_responses
from llava_serve.adapters.routes import Answer, adapted_response
from llava_serve.errors import InvalidField, ResponseNotFound, StorageFailed
from llava_serve.http.body import grow_body, limits_of, read_json
from llava_serve.http.caller import caller_of
from llava_serve.http.plain_route import PlainRoute
from llava_serve.http.shaped_errors import add_source
from llava_serve.storage.kept_responses import KeptResponses, Trail

_MOST_REFERENCES = 500  # of one request
_ITEM_KINDS = ("msg", "fc")  # what ids of our items begin with

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request in which nothing is left to be found, and what of its input was new."""

    body: dict[str, Any]
    said: list[Any]
    kept_items: int  # of the input, before what is new
    previous_id: str | None
    is_kept: bool


def response_router(kept: KeptResponses, answer_chat: Answer) -> APIRouter:
    """Return the routes of the Responses protocol where responses are kept."""
    router = APIRouter()

    async def create(request: Request) -> Response:
        owner = caller_of(request).owner
        asked = await _unfolded(kept, request, (await read_json(request))[0])
        add_source(request, partial(_source_of, asked.kept_items))
        told = {"store": asked.is_kept, "previous_response_id": asked.previous_id}
        adapted, response_id = adapt_responses(asked.body, told)
        if not asked.is_kept:
            return await adapted_response(request, adapted, answer_chat)
        keeper = _Keeper(kept, response_id)
        answer = await adapted_response(request, adapted, answer_chat, keeper.finish)
        said, previous_id = asked.said, asked.previous_id
        await asyncio.to_thread(kept.begin, owner, response_id, said, previous_id)
        return _KeptAnswer(answer, keeper)

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


class _Keeper:
    """What becomes of a response that was begun."""

    def __init__(self, kept: KeptResponses, response_id: str) -> None:
        self._kept = kept
        self._response_id = response_id
        self._is_finished = False

    async def finish(self, told: dict[str, Any]) -> None:
        """Keep the response before its client knows it all; that is none the worse without."""
        try:
            await asyncio.to_thread(self._kept.finish, told)
        except StorageFailed as exc:
            logger.warning("the response is not kept: %s", exc.message)
        else:
            self._is_finished = True

    async def end(self) -> None:
        """Leave nothing of a response that was not finished."""
        if self._is_finished:
            return
        try:
            await asyncio.to_thread(self._kept.discard, self._response_id)
        except StorageFailed as exc:  # it expires
            logger.warning("what was asked is not forgotten yet: %s", exc.message)


class _KeptAnswer(Response):
    """A response that lets another one answer, and then ends what keeps that."""

    def __init__(self, answer: Response, keeper: _Keeper) -> None:
        super().__init__()
        self._answer = answer
        self._keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            await self._keeper.end()


async def _unfolded(kept: KeptResponses, request: Request, body: Any) -> _Asked:
    """Put what is kept into a decoded body.

    Raises:
        InvalidField: a field of it is not what it should be.
        ResponseNotFound: nothing of this owner's is kept under an id.
        BodyTooLarge, NoRoomForBody: it becomes too large, before what is kept is read.
    """
    if not isinstance(body, dict):
        raise InvalidField("body", "must be a JSON object")
    body = dict(body)
    previous_id, store = body.pop("previous_response_id", None), body.pop("store", None)
    if not isinstance(previous_id, str | None):
        raise InvalidField("previous_response_id", "must be the id of a response")
    if not isinstance(store, bool | None):
        raise InvalidField("store", "must be true or false")
    said = body.get("input")
    items = [{"role": "user", "content": said}] if isinstance(said, str) else said
    before: list[Any] = []
    if isinstance(items, list):
        owner, trail = caller_of(request).owner, None
        references = _references(items)
        more_bytes = await _size_of(kept, owner, references)
        if previous_id is not None:
            most_bytes = limits_of(request).max_bytes
            trail = await asyncio.to_thread(kept.trail, owner, previous_id, most_bytes)
            if trail is None:
                raise ResponseNotFound(previous_id, "previous_response_id")
            more_bytes += trail.size_bytes
        if more_bytes:
            await grow_body(request, more_bytes)
        items = await _resolved(kept, owner, items, references)
        before = await _before(kept, owner, trail)
        body["input"] = before + items
    return _Asked(body, items, len(before), previous_id, is_kept=store is not False)


def _source_of(kept_items: int, path: str) -> str:
    """Return where a field stood before the kept items of its conversation were put in."""
    field, _, rest = path.partition(".")
    at, _, within = rest.partition(".")
    if field != "input" or not at.isdecimal():
        return path
    if int(at) < kept_items:
        return "previous_response_id"
    return ".".join(filter(None, ("input", str(int(at) - kept_items), within)))


@dataclass(frozen=True, slots=True)
class _Reference:
    """The item at a place in the input that stands for one of a kept response."""

    at: int
    item_id: str

    @property
    def response_id(self) -> str:
        kind, _, rest = self.item_id.partition("_")
        return f"resp_{rest.partition('_')[0]}" if kind in _ITEM_KINDS else ""

    @property
    def not_found(self) -> ResponseNotFound:
        return ResponseNotFound(self.item_id, f"input.{self.at}")


def _references(items: list[Any]) -> list[_Reference]:
    found = [
        _Reference(at, str(item.get("id")))
        for at, item in enumerate(items)
        if isinstance(item, dict) and item.get("type") == "item_reference"
    ]
    if len(found) > _MOST_REFERENCES:
        reason = f"has {len(found):,} items of the type item_reference"
        raise InvalidField("input", f"{reason}; at most {_MOST_REFERENCES} are read")
    return found


async def _size_of(kept: KeptResponses, owner: str, references: list[_Reference]) -> int:
    """Return the bytes that references stand for. Raises: ResponseNotFound."""
    if not references:
        return 0
    ids = {reference.response_id for reference in references}
    sizes = await asyncio.to_thread(kept.sizes, owner, ids)
    for reference in references:
        if reference.response_id not in sizes:
            raise reference.not_found
    return sum(sizes[reference.response_id] for reference in references)


async def _resolved(
    kept: KeptResponses, owner: str, items: list[Any], references: list[_Reference]
) -> list[Any]:
    """Return the items, each reference replaced by what it stands for."""
    if not references:
        return items
    ids = {reference.response_id for reference in references}
    found = await asyncio.to_thread(kept.find_all, owner, ids)
    items = list(items)
    for reference in references:
        response = found.get(reference.response_id)  # or it was forgotten just now
        output = response["output"] if response else []
        item = next((item for item in output if item["id"] == reference.item_id), None)
        if item is None:
            raise reference.not_found
        items[reference.at] = item
    return items


async def _before(kept: KeptResponses, owner: str, trail: Trail | None) -> list[Any]:
    """Return the items of a trail."""
    if trail is None:
        return []
    before = await asyncio.to_thread(kept.conversation, owner, trail)
    if before is None:  # it was forgotten just now
        raise ResponseNotFound(trail.ids[0], "previous_response_id")
    return before
