"""Repeated work goes on behind its bugs, which are in the log."""

import asyncio

import pytest

from llava_serve.accounts.repeating import repeated


async def test_work_that_has_a_bug_is_done_again(caplog: pytest.LogCaptureFixture) -> None:
    runs, is_again = 0, asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ZeroDivisionError
        is_again.set()

    async with repeated(work, 0.001, "reckoning"):
        await is_again.wait()
    assert "reckoning ended" in caplog.text
    assert "ZeroDivisionError" in caplog.text
