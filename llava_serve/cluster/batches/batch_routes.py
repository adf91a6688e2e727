"""Routes of batches, as the `openai` client calls them: each caller sees their own."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from openai.types import Batch as ToldBatch
from pydantic import Field, StringConstraints

from llava_serve.cluster.batches.batch import ENDPOINTS, Batch, BatchCaller, window_s
from llava_serve.cluster.batches.batch_store import BatchStore
from llava_serve.cluster.files.file_store import FileStore
from llava_serve.errors import BatchOver, BatchUnknown, InvalidField
from llava_serve.http.body import read_json
from llava_serve.http.caller import caller_of
from llava_serve.protocol.strict import Strict, parse_body

_PATH = "/v1/batches"
_MOST_LISTED = 100
_Name = Annotated[str, StringConstraints(max_length=64)]
_Value = Annotated[str, StringConstraints(max_length=512)]


class ResultsExpiry(Strict):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=1, le=30 * 86_400)]


class BatchCreation(Strict):
    """Source: openai 3.51.0, openai/types/batch_create_params.py."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Annotated[dict[_Name, _Value], Field(max_length=16)] | None = None
    output_expires_after: ResultsExpiry | None = None


def batch_router(store: BatchStore, files: FileStore, begin: Callable[[str], None]) -> APIRouter:
    """Return the routes of `store`; `begin` is called with the id of each new batch."""
    router = APIRouter()

    @router.post(_PATH)
    async def create(request: Request) -> ToldBatch:
        asked = parse_body(BatchCreation, (await read_json(request))[0])
        batch = await asyncio.to_thread(_created, store, files, asked, _caller(request))
        begin(batch.id)
        return batch.told()

    @router.get(_PATH)
    async def batches(
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 20,
    ) -> dict[str, Any]:
        found = await asyncio.to_thread(store.all_of, _caller(request).owner)
        if after is not None:
            ids = [each.id for each in found]
            if after not in ids:
                raise BatchUnknown(after, "after")
            found = found[ids.index(after) + 1 :]
        page = [each.told() for each in found[:limit]]
        return {
            "object": "list",
            "data": page,
            "has_more": len(found) > limit,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    @router.get(_PATH + "/{batch_id}")
    async def one_batch(batch_id: str, request: Request) -> ToldBatch:
        owner = _caller(request).owner
        return (await asyncio.to_thread(store.find, owner, batch_id))[1].told()

    @router.post(_PATH + "/{batch_id}/cancel")
    async def cancel(batch_id: str, request: Request) -> ToldBatch:
        owner = _caller(request).owner
        return (await asyncio.to_thread(_cancelled, store, owner, batch_id)).told()

    return router


def _caller(request: Request) -> BatchCaller:
    return BatchCaller.of(caller_of(request))


def _created(
    store: BatchStore, files: FileStore, asked: BatchCreation, caller: BatchCaller
) -> Batch:
    """Make a batch.

    Raises:
        InvalidField: a field is wrong.
        FileUnknown: the input is not there.
        FileQuotaSpent: there is no room for results.
        TooManyBatches: others are under way.
    """
    if asked.endpoint not in ENDPOINTS:
        raise InvalidField("endpoint", f"must be one of {', '.join(ENDPOINTS)}")
    seconds = window_s(asked.completion_window)
    kept = files.find(caller.owner, asked.input_file_id)
    if kept.purpose != "batch":
        reason = f"is a file with the purpose {kept.purpose}, and must be one with batch"
        raise InvalidField("input_file_id", reason)
    files.check_room(caller.owner)
    now = int(store.clock())
    expiry = asked.output_expires_after
    batch = Batch(
        id="",
        caller=caller,
        endpoint=asked.endpoint,
        input_file_id=kept.id,
        completion_window=asked.completion_window,
        created_at=now,
        expires_at=now + seconds,
        metadata=asked.metadata,
        results_expiry_s=expiry.seconds if expiry else None,
    )
    return store.create(batch, files.path(caller.owner, kept))


def _cancelled(store: BatchStore, owner: str, batch_id: str) -> Batch:
    """Ask for the end of a batch. Raises: BatchUnknown, BatchOver."""
    folder, batch = store.find(owner, batch_id)
    if batch.status not in ("cancelling", "cancelled"):
        if batch.has_ended or batch.status == "finalizing":
            raise BatchOver(batch.id, batch.status)
        folder.cancel()
    return store.find(owner, batch_id)[1]
