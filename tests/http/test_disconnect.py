"""A client that leaves stops the work; one that stays gets its result."""

import asyncio

from starlette.types import Message

from llava_serve.http.disconnect import unless_client_leaves


async def test_work_ends_with_its_result_while_the_client_stays() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> str:
        return "done"

    assert await unless_client_leaves(work(), receive) == "done"


async def test_work_has_ended_when_the_client_has_left() -> None:
    messages = iter(["http.request", "http.disconnect"])
    has_ended = False

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": next(messages)}

    async def work() -> str:
        nonlocal has_ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            has_ended = True
        return "done"

    assert await unless_client_leaves(work(), receive) is None
    assert has_ended
