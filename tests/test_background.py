"""Background tasks end with their block, and their bugs are in the log."""

import asyncio

import pytest

from llava_serve.background import BackgroundTasks, background


async def test_a_task_ends_with_its_block() -> None:
    async with background(asyncio.sleep(3600), "sleeper") as task:
        await asyncio.sleep(0)
        assert not task.done()
    assert task.cancelled()


async def test_all_tasks_end_before_the_block_is_left() -> None:
    ended = 0

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            ended += 1

    async with BackgroundTasks() as tasks:
        for _ in range(3):
            tasks.start(work(), "worker")
        await asyncio.sleep(0)
    assert ended == 3


async def test_a_bug_is_logged_under_the_task_s_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async with background(fail(), "failing") as task:
        await asyncio.wait([task])
    assert "failing ended" in caplog.text
    assert "ZeroDivisionError" in caplog.text
