"""The audit reaches the database in batches, and no request waits for it."""

import asyncio
from pathlib import Path

import pytest

from llava_serve.accounts import audit
from llava_serve.accounts.audit import AuditLog
from llava_serve.accounts.store import AccountStore, AuditedRequest, default_url
from tests.until import until


def row(number: int = 0) -> AuditedRequest:
    return AuditedRequest(
        at=float(number), request_id=f"r{number}", key_id=None, model="m", worker="w", outcome="ok"
    )


def written(store: AccountStore) -> int:
    return sum(one.requests for one in store.usage(0, 1e12))


async def test_rows_are_written_while_it_is_open(store: AccountStore) -> None:
    log = AuditLog(store)
    async with log.opened():
        log.add(row())
        await until(lambda: written(store) == 1)


async def test_the_last_rows_are_written_when_it_closes(store: AccountStore) -> None:
    log = AuditLog(store)
    async with log.opened():
        for number in range(2500):
            log.add(row(number))
    assert written(store) == 2500


async def test_rows_wait_for_a_database_that_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = AccountStore(default_url(tmp_path / "later"))
    log = AuditLog(away)
    log.add(row(1))
    await log.flush()
    assert "the audit waits for the database" in caplog.text
    await asyncio.to_thread((tmp_path / "later").mkdir)
    away.create_tables()
    log.add(row(2))
    await log.flush()
    assert written(away) == 2
    away.close()


async def test_what_waits_is_bounded_and_a_loss_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "MOST_HELD", 3)
    away = AccountStore(default_url(tmp_path / "later"))
    log = AuditLog(away)
    for number in range(5):
        log.add(row(number))
        await log.flush()
    assert caplog.text.count("the audit loses rows") == 1
    await asyncio.to_thread((tmp_path / "later").mkdir)
    away.create_tables()
    await log.flush()
    assert written(away) == 3
    away.close()
