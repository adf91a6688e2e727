"""A client that leaves stops the work; one that stays gets its result."""

import asyncio

import pytest
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


async def test_who_is_cancelled_by_others_is_told_so_with_their_reason() -> None:
    began = asyncio.Event()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> str:
        began.set()
        await asyncio.Event().wait()
        return "done"

    serving = asyncio.create_task(unless_client_leaves(work(), receive))
    await began.wait()
    serving.cancel("the reason")
    with pytest.raises(asyncio.CancelledError, match="the reason"):
        await serving


async def test_a_client_that_leaves_with_the_result_cancels_nothing_more() -> None:
    left = asyncio.Event()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def work() -> str:
        await asyncio.sleep(0)
        left.set()
        await left.wait()
        return "done"

    assert await unless_client_leaves(work(), receive) == "done"
    for _ in range(3):  # turns of the loop, in which the watch of the client ends
        await asyncio.sleep(0)


async def test_work_that_ends_otherwise_when_its_client_leaves_leaves_no_cancellation() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("the clean-up failed") from None
        return "done"

    with pytest.raises(RuntimeError, match="the clean-up failed"):
        await unless_client_leaves(work(), receive)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_receiver_that_fails_stands_for_a_client_that_left() -> None:
    async def receive() -> Message:
        raise OSError

    async def work() -> str:
        await asyncio.Event().wait()
        return "done"

    assert await unless_client_leaves(work(), receive) is None
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
