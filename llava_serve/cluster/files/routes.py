"""Routes of uploaded files, as the `openai` client calls them: each caller sees their own."""

import asyncio
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from openai.types import FileDeleted, FileObject
from starlette.datastructures import FormData, UploadFile

from llava_serve.cluster.files.file_store import FileStore
from llava_serve.cluster.files.kept_file import KeptFile
from llava_serve.cluster.files.upload_form import read_form
from llava_serve.errors import FileUnknown, InvalidField
from llava_serve.http.access import UPLOADS
from llava_serve.http.caller import caller_of
from llava_serve.http.plain_route import PlainRoute

_LINES = "batch"  # the purpose of what is no picture
_PURPOSES = ("vision", "user_data", _LINES)
_FIELDS = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
_SECONDS = re.compile(r"\d{1,9}")
_MOST_LISTED = 10_000


def files_router(store: FileStore) -> APIRouter:
    """Return the routes of `store`."""
    router = APIRouter()

    async def upload(request: Request) -> Response:
        async with read_form(request, len(_FIELDS)) as form:
            kept = await _kept(store, caller_of(request).owner, form)
        return Response(_shown(kept).model_dump_json(), media_type="application/json")

    router.add_api_route(UPLOADS, upload, methods=["POST"], route_class_override=PlainRoute)

    @router.get(UPLOADS)
    async def files(
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = _MOST_LISTED,
        order: Literal["asc", "desc"] = "desc",
        purpose: str | None = None,
    ) -> dict[str, Any]:
        kept = await asyncio.to_thread(store.all_of, caller_of(request).owner)
        kept = kept if order == "desc" else kept[::-1]
        if after is not None:
            ids = [each.id for each in kept]
            if after not in ids:
                raise FileUnknown(after, "after")
            kept = kept[ids.index(after) + 1 :]
        found = [_shown(each) for each in kept if purpose in (None, each.purpose)]
        return {
            "object": "list",
            "data": found[:limit],
            "has_more": len(found) > limit,
            "first_id": found[0].id if found else None,
            "last_id": found[:limit][-1].id if found else None,
        }

    @router.get(UPLOADS + "/{file_id}")
    async def one_file(file_id: str, request: Request) -> FileObject:
        owner = caller_of(request).owner
        return _shown(await asyncio.to_thread(store.find, owner, file_id))

    @router.get(UPLOADS + "/{file_id}/content")
    async def content(file_id: str, request: Request) -> FileResponse:
        owner = caller_of(request).owner
        kept = await asyncio.to_thread(store.find, owner, file_id)
        path = store.path(owner, kept)
        if not await asyncio.to_thread(path.is_file):  # deleted meanwhile
            raise FileUnknown(file_id)
        headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
        return FileResponse(path, headers=headers, media_type=kept.media_type)

    @router.delete(UPLOADS + "/{file_id}")
    async def delete(file_id: str, request: Request) -> FileDeleted:
        await asyncio.to_thread(store.delete, caller_of(request).owner, file_id)
        return FileDeleted(id=file_id, deleted=True, object="file")

    return router


async def _kept(store: FileStore, owner: str, form: FormData) -> KeptFile:
    """Keep what a form brings.

    Raises:
        InvalidField: a field is missing, unknown or wrong.
        MediaUnreadable, MediaTooLarge, FileQuotaSpent: see `FileStore.add`.
    """
    if unknown := [name for name in form if name not in _FIELDS]:
        raise InvalidField(unknown[0][:100], "is not supported here")
    file, purpose = form.get("file"), form.get("purpose")
    if not isinstance(file, UploadFile):
        raise InvalidField("file", "must be a file, in a body of multipart/form-data")
    if purpose not in _PURPOSES:
        raise InvalidField("purpose", f"must be one of {', '.join(_PURPOSES)}")
    expiry_s = _expiry_s(form)

    def keep() -> KeptFile:
        filename = file.filename or "file"
        if purpose == _LINES:
            return store.add_lines(owner, file.file, filename, expiry_s)
        data = file.file.read()
        return store.add(owner, data, filename=filename, purpose=str(purpose), expiry_s=expiry_s)

    return await asyncio.to_thread(keep)


def _expiry_s(form: FormData) -> float | None:
    if form.get("expires_after[anchor]", "created_at") != "created_at":
        raise InvalidField("expires_after.anchor", "must be created_at")
    seconds = form.get("expires_after[seconds]")
    if seconds is None:
        return None
    if not isinstance(seconds, str) or not _SECONDS.fullmatch(seconds) or not int(seconds):
        raise InvalidField("expires_after.seconds", "must be a number of seconds")
    return float(seconds)


def _shown(kept: KeptFile) -> FileObject:
    return FileObject(
        id=kept.id,
        object="file",
        bytes=kept.size_bytes,
        created_at=kept.created_at,
        expires_at=kept.expires_at,
        filename=kept.filename,
        purpose=kept.purpose,
        status="processed",
    )
