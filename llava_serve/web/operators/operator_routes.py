"""Routes of the page for operators: the cluster as HTML, drains, and the controller's log level."""

import asyncio
import logging
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field, ValidationError

from llava_serve import logs
from llava_serve.config import LogLevel
from llava_serve.errors import RemoteError, ServeError
from llava_serve.logins.user import user_of
from llava_serve.protocol.cluster_snapshot import ClusterSnapshot
from llava_serve.web.controller_link import ControllerLink
from llava_serve.web.conversation_routes import ForUsers
from llava_serve.web.operators import cluster_view
from llava_serve.web.operators.rights import Operators
from llava_serve.web.translations.catalogue import ENGLISH
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import current

logger = logging.getLogger(__name__)

_SHOWN = 100  # workers


class WorkerAction(BaseModel):
    """The worker that is meant, by its id or address."""

    worker: str = Field(min_length=1, max_length=300)


class LevelAction(BaseModel):
    """The least severe message that the controller logs from here on."""

    level: LogLevel


def _told(error: ServeError) -> JSONResponse:
    text = error.with_remedy
    if current.get() is not ENGLISH:  # its own words have what an operator looks for
        text = f"{error_text(error).told} ({text})"
    told = {"error": text, "request_id": logs.request_id.get()}
    return JSONResponse(told, error.status)


class _ForOperators(ForUsers):
    """A route whose errors are told in the words for who runs the processes."""

    told = staticmethod(_told)


def operator_router(operators: Operators, link: ControllerLink) -> APIRouter:
    """Return the routes below /operators; each checks who asks."""

    async def check(request: Request) -> None:
        operators.check(request.scope)

    router = APIRouter(
        prefix="/operators", route_class=_ForOperators, dependencies=[Depends(check)]
    )

    @router.get("/cluster")
    async def cluster(search: str = Query("", max_length=200)) -> HTMLResponse:
        asked = f"/cluster?count={_SHOWN}&search={quote(search, safe='')}"
        snapshot = _read(await link.client.administer("GET", asked))
        shown = await asyncio.to_thread(cluster_view.render, snapshot, search)
        return HTMLResponse(shown, headers={"Cache-Control": "no-store"})

    @router.post("/drain", status_code=204)
    async def drain(body: WorkerAction, request: Request) -> None:
        await change(request, body.worker, "drain")

    @router.post("/undrain", status_code=204)
    async def undrain(body: WorkerAction, request: Request) -> None:
        await change(request, body.worker, "undrain")

    async def change(request: Request, worker: str, do: str) -> None:
        await link.client.administer("POST", f"/workers/{quote(worker, safe='')}/{do}")
        logger.info("%s of %s by %s", do, worker, _who(request))

    @router.post("/log-level", status_code=204)
    async def log_level(body: LevelAction, request: Request) -> None:
        await link.client.administer("PUT", "/log-level", {"level": body.level})
        logger.info("log level %s by %s", body.level, _who(request))

    return router


def _who(request: Request) -> str:
    user = user_of(request.scope)
    return user.name if user else "a browser on this machine"


def _read(content: bytes) -> ClusterSnapshot:
    try:
        return ClusterSnapshot.model_validate_json(content)
    except ValidationError as exc:
        raise RemoteError(
            f"the controller's answer is no snapshot: {exc}"[:500],
            "unknown",
            502,
            "Run the controller and the page in one version.",
        ) from exc
