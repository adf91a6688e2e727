"""Routes of folders: made, filled, asked about, followed, and taken along as a table or a sheet."""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.storage.filenames import last_part
from llava_serve.storage.identity import Identity
from llava_serve.web.browser_identity import identity_of
from llava_serve.web.compare import contact_sheet, folder_view
from llava_serve.web.compare.folder_run import FolderRun, Place
from llava_serve.web.compare.folder_runs import FolderRuns
from llava_serve.web.conversation_file import ParametersData
from llava_serve.web.conversation_routes import ForUsers
from llava_serve.web.crowd import address_of
from llava_serve.web.heavy_work import GoOn, HeavyWork
from llava_serve.web.parameters import Parameters
from llava_serve.web.translations.language import translate

_MOST_IMAGES = 100_000  # of a request that is to be told how many are taken
_AT_ONCE = 2  # tables and sheets that are written
_MOST_LISTED = 1_000_000  # as many as anybody has
_UNKEPT = {"Cache-Control": "no-store"}
_ALONE = {
    **_UNKEPT,
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
Size = Annotated[int, Field(ge=0, lt=2**50)]
FolderPlace = tuple[NonNegativeInt, NonNegativeInt]


class NewFolder(BaseModel):
    """A question about images of these sizes in bytes, to models."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(max_length=100_000)
    models: list[Annotated[str, Field(max_length=255)]] = Field(max_length=100)
    sizes: list[Size] = Field(max_length=_MOST_IMAGES)
    parameters: ParametersData = Field(default_factory=ParametersData)


class FolderStart(BaseModel):
    """The answers that are asked for: all that are missing, or those in these places of them."""

    places: set[FolderPlace] | None = Field(None, max_length=_MOST_IMAGES)


def folder_router(runs: FolderRuns) -> APIRouter:
    """Return the routes; each knows by its request whose folders are meant."""
    router = APIRouter(prefix="/folders", route_class=ForUsers)
    _add_changes(router, runs)
    _add_views(router, runs)
    return router


def _whose(request: Request) -> Identity:
    return identity_of(request.scope)


def _add_changes(router: APIRouter, runs: FolderRuns) -> None:
    @router.post("", status_code=201)
    async def begin(body: NewFolder, request: Request) -> dict[str, str]:
        parameters = Parameters.restored(body.parameters.model_dump(exclude_none=True))
        question = body.question.strip()
        begun = runs.begin(_whose(request), question, body.models, parameters, body.sizes)
        return {"id": await begun}

    @router.post("/image", status_code=204)
    async def add_image(
        request: Request,
        folder: str = Query(max_length=64),
        name: str = Query(max_length=1000),
        position: int = Query(ge=0, lt=_MOST_IMAGES),
    ) -> None:
        async def read(path: Path) -> None:
            with await asyncio.to_thread(path.open, "wb") as file:
                async for chunk in request.stream():
                    await asyncio.to_thread(file.write, chunk)

        last = last_part(name, otherwise="picture")
        await runs.add_image(_whose(request), folder, last, position, read)

    @router.post("/{folder_id}/start", status_code=204)
    async def start(folder_id: str, body: FolderStart, request: Request) -> None:
        address = address_of(request.scope)
        await runs.start(_whose(request), folder_id, body.places, address)

    @router.post("/{folder_id}/stop", status_code=204)
    async def stop(folder_id: str, request: Request) -> None:
        await runs.stop(_whose(request), folder_id)

    @router.delete("/{folder_id}", status_code=204)
    async def delete(folder_id: str, request: Request) -> None:
        await runs.delete(_whose(request), folder_id)


def _add_views(router: APIRouter, runs: FolderRuns) -> None:
    heavy, sheets = HeavyWork(_AT_ONCE), HeavyWork(_AT_ONCE)  # a sheet takes minutes

    @router.get("")
    async def overview(
        request: Request, response: Response, count: int = Query(50, ge=1, le=_MOST_LISTED)
    ) -> dict[str, Any]:
        response.headers.update(_UNKEPT)
        entries, has_more = await runs.entries(_whose(request), count)
        return {**runs.offered(), "folders": entries, "has_more": has_more}

    @router.get("/{folder_id}.{kind}")
    async def export(folder_id: str, kind: Literal["csv", "html"], request: Request) -> Response:
        async def written() -> str:
            run = await runs.find(_whose(request), folder_id)
            if kind == "csv":
                return await heavy.run(lambda _: folder_view.as_csv(run))
            return await sheets.run(partial(contact_sheet.as_page, run, runs.media))

        text = await unless_client_leaves(written(), request.receive)
        name = quote(translate("folder.answers_file"), safe="")
        named = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}.{kind}"}
        mime = f"text/{kind}; charset=utf-8"
        return _none() if text is None else Response(text, 200, _ALONE | named, mime)

    @router.get("/{folder_id}")
    async def show(
        folder_id: str, request: Request, mark: str = Query("", max_length=64)
    ) -> Response:
        async def told() -> dict[str, Any]:
            run = await runs.find(_whose(request), folder_id)
            told = {
                "mark": run.mark,
                "running": run.is_running,
                "question": run.question,
                **run.counts(),
            }
            if not mark:
                return told | {"table": await heavy.run(partial(folder_view.table, run))}
            changed = [*run.changed_since(mark)]
            cells = await heavy.run(partial(_cells, run, changed)) if changed else {}
            return told | {"cells": cells}

        answer = await unless_client_leaves(told(), request.receive)
        return _none() if answer is None else JSONResponse(answer, headers=_UNKEPT)


def _none() -> Response:
    """Return the answer to a client that has left."""
    return Response(status_code=204)


def _cells(run: FolderRun, places: Iterable[Place], go_on: GoOn) -> dict[str, str]:
    cells = {}
    for place in places:
        go_on()
        cells[f"{place[0]}.{place[1]}"] = folder_view.cell(run.answers[place], place)
    return cells
