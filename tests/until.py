"""Waiting in tests: a condition that never comes is a failure and no hang."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

LIMIT_S = 120.0  # much longer than the slowest machine takes


@asynccontextmanager
async def bounded(awaited: str, limit_s: float = LIMIT_S) -> AsyncIterator[None]:
    """Fail where the body, which waits for what is `awaited`, takes too long."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise AssertionError(f"there was none of this within {limit_s:g} s: {awaited}") from exc


async def until(
    is_true: Callable[[], bool], awaited: str = "the condition", limit_s: float = LIMIT_S
) -> None:
    """Wait for a condition."""
    async with bounded(awaited, limit_s):
        while not is_true():  # noqa: ASYNC110 - of what has no event
            await asyncio.sleep(0.01)
