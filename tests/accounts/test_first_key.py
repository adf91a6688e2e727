"""The first start makes a key, shows it once and keeps it for the programs of this machine."""

import logging
from pathlib import Path

import pytest
from sqlalchemy import event

from llava_serve.accounts.first_key import make_first_key, renew_first_key
from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.accounts.tables import KeyRow
from llava_serve.api_key import ApiKey, is_same
from llava_serve.errors import StorageFailed

ADDRESS = "http://127.0.0.1:10000"


def test_an_admin_key_is_made_shown_and_kept_for_its_owner_alone(
    store: AccountStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_first_key(store, tmp_path, ADDRESS)
    ((key, digest),) = store.all_keys()
    file = tmp_path / "api-key"
    text = file.read_text().strip()
    assert (key.role, key.is_limited, is_same(text, digest)) == ("admin", False, True)
    assert file.stat().st_mode & 0o077 == 0
    said = capsys.readouterr().out
    assert f'curl -H "Authorization: Bearer {text}" {ADDRESS}/v1/models' in said


def test_the_second_start_makes_none_and_shows_nothing(
    store: AccountStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_first_key(store, tmp_path, ADDRESS)
    capsys.readouterr()
    make_first_key(store, tmp_path, ADDRESS)
    assert (len(store.all_keys()), capsys.readouterr().out) == (1, "")


def test_of_two_controllers_that_start_at_once_one_makes_the_key_and_the_other_says_so(
    store: AccountStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    faster = AccountStore(default_url(tmp_path))

    def be_faster(*_: object) -> None:
        make_first_key(faster, tmp_path, ADDRESS)

    event.listen(KeyRow, "before_insert", be_faster, once=True)
    with caplog.at_level(logging.INFO):
        make_first_key(store, tmp_path, ADDRESS)
    faster.close()
    ((_, digest),) = store.all_keys()
    text = (tmp_path / "api-key").read_text().strip()
    assert is_same(text, digest)
    assert capsys.readouterr().out.count(f"  {text}\n") == 1
    assert "was made by another controller of this database" in caplog.text


def test_where_a_key_was_made_by_hand_none_is_made_though_it_is_revoked(
    store: AccountStore, tmp_path: Path
) -> None:
    store.create(ApiKey(id="", name="alice"))
    store.revoke("alice")
    make_first_key(store, tmp_path, ADDRESS)
    assert [key.name for key, _ in store.all_keys()] == ["alice"]


def test_the_file_of_a_database_that_is_gone_is_replaced(
    store: AccountStore, tmp_path: Path
) -> None:
    (tmp_path / "api-key").write_text("sk-llava-old\n")
    make_first_key(store, tmp_path, ADDRESS)
    assert (tmp_path / "api-key").read_text() != "sk-llava-old\n"


def test_a_key_that_cannot_be_kept_is_good_for_nobody(store: AccountStore, tmp_path: Path) -> None:
    (tmp_path / "api-key").mkdir()
    with pytest.raises(StorageFailed, match=r"cannot be kept.*--role admin$"):
        make_first_key(store, tmp_path, ADDRESS)
    assert [key.state(0) for key, _ in store.all_keys()] == ["revoked"]


def test_a_renewed_first_key_is_kept_and_that_of_another_is_not(
    store: AccountStore, tmp_path: Path
) -> None:
    make_first_key(store, tmp_path, ADDRESS)
    before = (tmp_path / "api-key").read_text()
    store.create(ApiKey(id="", name="alice"))
    renew_first_key(store.rotate("alice"), tmp_path)
    assert (tmp_path / "api-key").read_text() == before
    issued = store.rotate("first")
    renew_first_key(issued, tmp_path)
    assert (tmp_path / "api-key").read_text().strip() == issued.text
