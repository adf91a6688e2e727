"""Disconnects: a client that leaves stops the work for it."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive


async def client_left(receive: Receive) -> None:
    """Return once the client has left; call it when the whole request has been received."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_client_leaves(work: Coroutine[None, None, str], receive: Receive) -> str | None:
    """Return the work's result; None where the client left first and the work was cancelled."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(client_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
