"""Graceful stop of a process: requests that run beyond the grace end with an error.

uvicorn itself cancels what runs when the grace is over, and waits for nothing after that.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_serve import logs
from llava_serve.background import background
from llava_serve.errors import Interrupted

logger = logging.getLogger(__name__)

FINAL_WRITE_S = 2  # after the grace, for the end of each answer to be written

_END_OF_GRACE = "the grace is over"


@asynccontextmanager
async def grace(running: Collection[asyncio.Task[None]], grace_s: float) -> AsyncIterator[None]:
    """Cancel what is `running` in `grace_s` seconds, unless the body ends before."""
    async with background(_end(running, grace_s), "grace"):
        yield


async def _end(running: Collection[asyncio.Task[None]], grace_s: float) -> None:
    await asyncio.sleep(grace_s)
    if running:
        logger.warning("%d requests still run after %g s: they are cut", len(running), grace_s)
    for task in list(running):
        task.cancel(_END_OF_GRACE)


def is_end_of_grace(cancelled: asyncio.CancelledError) -> bool:
    """Tell whether it is the process that ends, and not whoever waits for the work."""
    return cancelled.args == (_END_OF_GRACE,)


class InterruptedAnswers:
    """Middleware: what the end of the grace cuts before its first byte gets an error answer.

    What is cut behind that must end itself, in the form of its stream.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = False

        async def noted_send(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        except asyncio.CancelledError as exc:
            if scope["type"] != "http" or has_started or not is_end_of_grace(exc):
                raise
            error = Interrupted()
            body = error.as_body(logs.request_id.get())
            await JSONResponse(body, error.status, headers=error.headers)(scope, receive, send)
