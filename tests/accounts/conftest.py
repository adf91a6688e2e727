"""Accounts in a SQLite file of the test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from llava_serve.accounts import keyring
from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.store import AccountStore, default_url


class Clock:
    now = 1_769_900_000.0  # 2026-01-31 22:53:20 UTC

    def __call__(self) -> float:
        return self.now


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
