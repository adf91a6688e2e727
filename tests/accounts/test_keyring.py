"""A key is found while it is good, on every server that shares the database."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from llava_serve.accounts import keyring
from llava_serve.accounts.keyring import KeyRing
from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.api_key import ApiKey
from llava_serve.errors import KeyRefused, StorageFailed
from tests.accounts.conftest import Clock
from tests.until import bounded, until

REFRESH_S = keyring.REFRESH_S  # before fixtures make it shorter

ALICE = ApiKey(id="", name="alice")


def test_a_revoked_key_ends_within_5_s() -> None:
    assert REFRESH_S <= 3


async def refused(ring: KeyRing, text: str) -> str:
    """Ask for a key until it is refused; return the reason."""
    async with bounded("a refusal"):
        while True:
            try:
                await ring.find(text)
            except KeyRefused as exc:
                return exc.message
            await asyncio.sleep(0.01)


async def test_a_key_that_was_just_made_is_known(store: AccountStore, ring: KeyRing) -> None:
    assert (await ring.find(store.create(ALICE).text)).name == "alice"


@pytest.mark.parametrize("text", ["", "nonsense", "sk-llava-000000000000-secret", "é" * 3000])
async def test_what_is_no_key_is_refused(ring: KeyRing, text: str) -> None:
    with pytest.raises(KeyRefused, match="unknown"):
        await ring.find(text)


async def test_a_key_with_another_secret_is_refused(store: AccountStore, ring: KeyRing) -> None:
    text = store.create(ALICE).text
    with pytest.raises(KeyRefused, match="unknown"):
        await ring.find(text[:-1] + ("x" if text[-1] != "x" else "y"))


async def test_an_expired_key_is_refused(store: AccountStore, ring: KeyRing, clock: Clock) -> None:
    text = store.create(ApiKey(id="", name="a", expires_at=clock.now + 1)).text
    await ring.find(text)
    clock.now += 1
    with pytest.raises(KeyRefused, match="expired"):
        await ring.find(text)


async def test_a_revoked_key_ends_on_every_server_of_the_database(
    store: AccountStore, ring: KeyRing, clock: Clock, tmp_path: Path
) -> None:
    text = store.create(ALICE).text
    other_store = AccountStore(default_url(tmp_path), clock)
    other = KeyRing(other_store, clock)
    async with other.opened():
        await asyncio.gather(ring.find(text), other.find(text))
        store.revoke("alice")
        reasons = await asyncio.gather(refused(ring, text), refused(other, text))
    assert set(reasons) == {"the API key is revoked"}
    other_store.close()


@pytest.mark.parametrize("state", ["revoked", "expired"])
async def test_what_runs_with_a_key_ends_with_it_and_nothing_else_does(
    store: AccountStore, ring: KeyRing, clock: Clock, state: str
) -> None:
    ending = ApiKey(id="", name="ending", expires_at=clock.now + 1)
    keys = [await ring.find(store.create(key).text) for key in (ALICE, ending)]
    may_end = asyncio.Event()

    async def run(key: ApiKey) -> str:
        async with ring.while_good(key):
            await may_end.wait()
        return "ended well"

    alice, ended = (asyncio.create_task(run(key)) for key in keys)
    await asyncio.sleep(0)  # both run
    if state == "revoked":
        store.revoke("ending")
    else:
        clock.now += 1
    with pytest.raises(KeyRefused, match=f"the API key is {state}"):
        async with bounded("the end of what runs"):
            await ended
    may_end.set()
    assert await alice == "ended well"


async def test_a_time_limit_of_others_stays_one_while_a_key_is_good(
    store: AccountStore, ring: KeyRing
) -> None:
    key = await ring.find(store.create(ALICE).text)
    with pytest.raises(TimeoutError):
        async with ring.while_good(key):
            raise TimeoutError


async def test_a_new_secret_is_good_at_once_and_the_old_one_ends(
    store: AccountStore, ring: KeyRing
) -> None:
    old = store.create(ALICE).text
    await ring.find(old)
    new = store.rotate("alice").text
    assert (await ring.find(new)).name == "alice"
    assert await refused(ring, old) == "the API key is unknown"


async def test_a_database_that_is_not_there_yet_is_not_made_and_found_later(
    tmp_path: Path, clock: Clock
) -> None:
    store = AccountStore(default_url(tmp_path), clock)
    ring = KeyRing(store, clock)
    async with ring.opened():
        assert not store.exists()
        store.create_tables()
        assert (await ring.find(store.create(ALICE).text)).name == "alice"
    store.close()


@contextmanager
def broken(file: Path) -> Iterator[None]:
    """Take a table out of the database while the body runs."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE api_key_months RENAME TO away")
        yield
        connection.execute("ALTER TABLE away RENAME TO api_key_months")


async def test_while_the_database_is_away_what_was_read_last_holds(
    store: AccountStore, ring: KeyRing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = store.create(ALICE).text
    key = await ring.find(text)
    with broken(tmp_path / "accounts.sqlite"):
        ring.add_tokens(key, 7)
        await until(lambda: "served as they were read last" in caplog.text)
        assert (await ring.find(text)).name == "alice"
    await until(lambda: store.tokens_this_month() == {key.id: 7})


async def test_a_key_is_revoked_while_the_database_takes_no_tokens(
    store: AccountStore, ring: KeyRing, tmp_path: Path
) -> None:
    text = store.create(ALICE).text
    key = await ring.find(text)
    with broken(tmp_path / "accounts.sqlite"):
        ring.add_tokens(key, 7)
        store.revoke("alice")
        assert await refused(ring, text) == "the API key is revoked"


async def test_tokens_reach_the_database_when_the_ring_closes(
    store: AccountStore, clock: Clock
) -> None:
    ring = KeyRing(store, clock)
    async with ring.opened():
        key = await ring.find(store.create(ALICE).text)
        ring.add_tokens(key, 10)
        assert ring.tokens_this_month(key) == 10
    assert store.tokens_this_month() == {key.id: 10}


async def test_while_tokens_are_written_a_key_has_used_no_less(
    store: AccountStore, clock: Clock, tmp_path: Path
) -> None:
    seen = []

    class Watched(AccountStore):
        def tokens_this_month(self) -> dict[str, int]:
            seen.append(ring.tokens_this_month(key))
            return super().tokens_this_month()

    text = store.create(ALICE).text
    key = store.all_keys()[0][0]
    watched = Watched(default_url(tmp_path), clock)
    ring = KeyRing(watched, clock)
    async with ring.opened():
        await ring.find(text)
        ring.add_tokens(key, 10)
        seen.clear()
    assert set(seen) == {10}  # a slow machine may look more than once
    watched.close()


async def test_a_file_that_cannot_be_looked_for_is_a_database_that_is_away(tmp_path: Path) -> None:
    store = AccountStore(f"sqlite:///{tmp_path / ('a' * 300)}")
    with pytest.raises(StorageFailed, match="cannot be reached"):
        store.exists()
    async with KeyRing(store).opened():
        pass
    store.close()
