"""Answers about a request that generate nothing: they wait in line as others, and take no slot."""

from collections.abc import Awaitable, Callable

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.media.limits import PixelReservation
from llava_serve.worker.worker import ModelWorker

Work = Callable[[PixelReservation], Awaitable[BaseModel]]


class LineBody(Response):
    """A response with what `work` tells as JSON, unless its client leaves before."""

    def __init__(self, worker: ModelWorker, work: Work) -> None:
        super().__init__()
        self._worker = worker
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = await unless_client_leaves(self._told(), receive)
        if told is not None:
            await Response(told, media_type="application/json")(scope, receive, send)

    async def _told(self) -> str:
        async with self._worker.media.reservation() as reservation:
            with self._worker.gate.line():
                return (await self._work(reservation)).model_dump_json()
