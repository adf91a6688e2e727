"""Disconnects: a client that leaves stops the work for it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar, cast

from starlette.types import Receive

Result = TypeVar("Result")


async def client_left(receive: Receive) -> None:
    """Return once the client has left; call it when the whole request has been received."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_client_leaves(work: Awaitable[Result], receive: Receive) -> Result | None:
    """Return the work's result; None where the client left first and the work was cancelled."""
    task = cast("asyncio.Task[object]", asyncio.current_task())
    cancelled_before = task.cancelling()
    is_over = has_left = False

    def stop_working(leaving: "asyncio.Task[None]") -> None:
        nonlocal has_left
        if not (is_over or leaving.cancelled()):
            has_left = True
            leaving.exception()  # it is looked at, whatever it is
            task.cancel()

    leaving = asyncio.create_task(client_left(receive))
    leaving.add_done_callback(stop_working)
    try:
        result = await work
    except asyncio.CancelledError:
        # Cancelled by somebody else too? As `asyncio.timeout` tells.
        if has_left and task.cancelling() - 1 <= cancelled_before:
            return None
        raise
    finally:
        is_over = True
        leaving.cancel()
        if has_left:
            task.uncancel()  # also where the work ended otherwise, as with an error
    return result
