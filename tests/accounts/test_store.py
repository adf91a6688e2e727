"""Keys, budgets and the audit survive in a database, and secrets are not in it."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event, make_url

from llava_serve.accounts.store import AccountStore, AuditedRequest, default_url, usage_query
from llava_serve.accounts.tables import KeyRow
from llava_serve.api_key import ApiKey, is_same
from llava_serve.errors import KeyNameTaken, NoSuchKey, StorageFailed
from tests.accounts.conftest import Clock

ALICE = ApiKey(id="", name="alice", models=("a", "b"), requests_per_minute=3, expires_at=1e12)


def test_a_key_comes_back_as_it_was_made(store: AccountStore, clock: Clock) -> None:
    issued = store.create(ALICE)
    ((key, digest),) = store.all_keys()
    assert is_same(issued.text, digest)
    assert key.models == ("a", "b")
    assert (key.id, key.requests_per_minute, key.created_at) == (issued.id, 3, clock.now)


def test_the_secret_is_not_in_the_file_and_the_file_is_the_owners(
    store: AccountStore, tmp_path: Path
) -> None:
    issued = store.create(ALICE)
    for file in tmp_path.iterdir():
        assert issued.text.encode() not in file.read_bytes()
        assert issued.text.split("-", 3)[3].encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0


def test_a_row_that_cannot_be_read_is_a_failure_of_the_database(
    store: AccountStore, tmp_path: Path
) -> None:
    store.create(ALICE)
    with sqlite3.connect(tmp_path / "accounts.sqlite") as database:
        database.execute("UPDATE api_keys SET models = '[broken'")
    with pytest.raises(StorageFailed, match="cannot be read"):
        store.all_keys()


def test_the_audit_of_an_older_version_goes_on(store: AccountStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "accounts.sqlite") as database:
        database.execute("ALTER TABLE api_requests DROP COLUMN client_fields")
    store.create_tables()
    said = AuditedRequest(
        at=0.0,
        request_id="r",
        key_id=None,
        model="m",
        worker="w",
        outcome="ok",
        client_fields={"user": "u"},
    )
    store.add_requests([said])
    with sqlite3.connect(tmp_path / "accounts.sqlite") as database:
        assert database.execute("SELECT client_fields FROM api_requests").fetchall() == [
            ('{"user": "u"}',)
        ]


def test_two_keys_cannot_have_one_name(store: AccountStore) -> None:
    store.create(ALICE)
    with pytest.raises(KeyNameTaken):
        store.create(ALICE)


def test_a_key_is_revoked_by_name_or_id_once_and_for_good(
    store: AccountStore, clock: Clock
) -> None:
    issued = store.create(ALICE)
    first = store.revoke("alice").revoked_at
    clock.now += 10
    assert store.revoke(issued.id).revoked_at == first == clock.now - 10
    with pytest.raises(NoSuchKey, match="revoked"):
        store.rotate("alice")


def test_a_rotated_key_keeps_its_id_and_limits(store: AccountStore) -> None:
    old = store.create(ALICE)
    new = store.rotate("alice")
    ((key, digest),) = store.all_keys()
    assert (key.id, key.requests_per_minute) == (old.id, 3) == (new.id, 3)
    assert is_same(new.text, digest)
    assert not is_same(old.text, digest)


def test_an_unknown_name_is_told(store: AccountStore) -> None:
    for change in (store.revoke, store.rotate):
        with pytest.raises(NoSuchKey, match="bob"):
            change("bob")


def test_tokens_add_up_within_a_month_and_begin_anew_in_the_next(
    store: AccountStore, clock: Clock
) -> None:
    key = store.create(ALICE).id
    store.add_tokens({key: 10})
    store.add_tokens({key: 5})
    assert store.tokens_this_month() == {key: 15}
    clock.now += 86_400
    assert store.tokens_this_month() == {}
    store.add_tokens({key: 1})
    assert store.tokens_this_month() == {key: 1}


def test_usage_is_summed_by_day_key_and_model(store: AccountStore, clock: Clock) -> None:
    key = store.create(ALICE).id

    def asked(model: str, outcome: str = "ok", at: float = clock.now) -> AuditedRequest:
        return AuditedRequest(
            at=at,
            request_id="r",
            key_id=key,
            model=model,
            worker="w",
            outcome=outcome,
            prompt_tokens=7,
            completion_tokens=2,
            image_tokens=5,
            image_sha256=["ab"],
            timings={"total_s": 0.5},
        )

    store.add_requests([asked("a"), asked("a", "worker_lost"), asked("b")])
    store.add_requests([asked("a", at=clock.now + 86_400)])
    sums = store.usage(0, 1e12)
    assert [(s.day, s.key, s.model, s.requests, s.failed) for s in sums] == [
        ("2026-01-31", "alice", "a", 2, 1),
        ("2026-01-31", "alice", "b", 1, 0),
        ("2026-02-01", "alice", "a", 1, 0),
    ]
    assert (sums[0].prompt_tokens, sums[0].completion_tokens, sums[0].image_tokens) == (14, 4, 10)
    assert len(store.usage(0, clock.now + 1)) == 2


def test_requests_without_a_key_are_summed_too(store: AccountStore, clock: Clock) -> None:
    store.add_requests(
        [
            AuditedRequest(
                at=clock.now, request_id="r", key_id=None, model="a", worker="", outcome="x"
            )
        ]
    )
    (one,) = store.usage(0, 1e12)
    assert (one.key, one.failed) == ("", 1)


def test_usage_is_grouped_by_no_parameter() -> None:
    """PostgreSQL takes a parameter in SELECT and the same one in GROUP BY for two expressions."""
    query = str(usage_query(0, 1).compile(dialect=make_url("postgresql://").get_dialect()()))
    grouped = query.partition("GROUP BY")[2]
    assert "coalesce(api_keys.name, api_requests.key_id, '')" in grouped
    assert "%(" not in grouped


def test_two_controllers_may_make_one_database_at_once(tmp_path: Path) -> None:
    one, other = (AccountStore(default_url(tmp_path)) for _ in range(2))

    def be_faster(*_: object, **__: object) -> None:
        other.create_tables()

    event.listen(KeyRow.__table__, "before_create", be_faster, once=True)
    one.create_tables()
    other.create(ALICE)
    assert [key.name for key, _ in one.all_keys()] == ["alice"]
    one.close()
    other.close()


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    store = AccountStore(default_url(tmp_path / "missing"))
    with pytest.raises(StorageFailed):
        store.create_tables()


def test_a_key_that_the_database_does_not_take_is_told(tmp_path: Path) -> None:
    store = AccountStore(default_url(tmp_path))
    with pytest.raises(StorageFailed, match="no such table"):
        store.create(ALICE)
    store.close()


def test_a_name_that_is_another_key_s_id_means_neither(store: AccountStore) -> None:
    first = store.create(ALICE)
    store.create(ApiKey(id="", name=first.id))
    for change in (store.revoke, store.rotate):
        with pytest.raises(NoSuchKey, match="the name of one key and the id of another"):
            change(first.id)
    assert all(key.revoked_at is None for key, _ in store.all_keys())
