"""A test that waits in vain fails, and says for what."""

import asyncio

import pytest

from tests.until import bounded


async def test_what_never_comes_is_a_failure_that_names_it() -> None:
    with pytest.raises(AssertionError, match="a letter"):
        async with bounded("a letter", limit_s=0):
            await asyncio.Event().wait()


async def test_another_limit_s_end_stays_what_it_is() -> None:
    with pytest.raises(TimeoutError):
        async with bounded("a letter"):
            raise TimeoutError
