"""Accounts in a SQLite file of the test."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from llava_serve.accounts import keyring
from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.store import AccountStore, default_url


class Clock:
    now = 1_769_900_000.0  # 2026-01-31 22:53:20 UTC

    def __call__(self) -> float:
        return self.now


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for a condition."""
    for _ in itertools.count():
        if is_true():
            return
        await asyncio.sleep(0.01)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[AccountStore]:
    store = AccountStore(default_url(tmp_path), clock)
    store.create_tables()
    yield store
    store.close()


@pytest.fixture
async def ring(
    store: AccountStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KeyRing]:
    monkeypatch.setattr(keyring, "REFRESH_S", 0.1)
    monkeypatch.setattr(keyring, "_LEAST_REFRESH_S", 0.01)
    ring = KeyRing(store, clock)
    async with ring.opened():
        yield ring
