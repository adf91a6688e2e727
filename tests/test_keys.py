"""The command that makes, lists, revokes and renews keys."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llava_serve import keys
from llava_serve.accounts.store import AccountStore, default_url
from llava_serve.api_key import ApiKey, id_of


def run(folder: Path, *words: str) -> None:
    keys.main([*words, "--state-dir", str(folder)])


def stored(folder: Path) -> list[ApiKey]:
    store = AccountStore(default_url(folder))
    found = [key for key, _ in store.all_keys()]
    store.close()
    return found


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[0]


def test_a_key_is_made_with_its_limits_and_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ["--requests-per-minute", "3", "--tokens-per-minute", "4", "--max-parallel", "5"]
    more = ["--monthly-tokens", "6", "--models", "a", "b", "--expires", "2999-01-31"]
    run(tmp_path, "create", "--name", "alice", "--role", "admin", *limits, *more)
    text = shown(capsys)
    (key,) = stored(tmp_path)
    assert (key.id, key.name, key.role, key.models) == (id_of(text), "alice", "admin", ("a", "b"))
    assert (key.requests_per_minute, key.tokens_per_minute) == (3, 4)
    assert (key.max_parallel, key.monthly_tokens) == (5, 6)
    assert key.expires_at == datetime(2999, 2, 1, tzinfo=UTC).timestamp()
    run(tmp_path, "list")
    listed = capsys.readouterr().out
    assert "alice" in listed and "2999-01-31" in listed
    assert text not in listed


def test_the_list_shows_limits_and_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "create", "--name", "alice", "--monthly-tokens", "500")
    run(tmp_path, "create", "--name", "bob")
    run(tmp_path, "revoke", "--name", "bob")
    capsys.readouterr()
    run(tmp_path, "list")
    head, alice, bob = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["id", "name", "role", "state"]
    assert alice.split()[1:] == ["alice", "user", "active", "all", "-", "-", "-", "0/500", "-"]
    assert bob.split()[3] == "revoked"


def test_a_renewed_key_is_shown_and_keeps_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "create", "--name", "alice")
    before = shown(capsys)
    run(tmp_path, "rotate", "--name", "alice")
    after = shown(capsys)
    assert before != after
    assert id_of(before) == id_of(after)


def test_a_renewed_key_is_shown_where_its_file_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "create", "--name", "first")
    before = shown(capsys)
    (tmp_path / "api-key").write_bytes(b"\xff")
    with pytest.raises(SystemExit, match="cannot be renewed"):
        run(tmp_path, "rotate", "--name", "first")
    assert id_of(shown(capsys)) == id_of(before)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--name", " "], "--name must be 1 to 255 printable characters"),
        (["--name", "a", "--max-parallel", "0"], "--max-parallel must be above 0"),
        (["--name", "a", "--expires", "soon"], "--expires takes a date like 2027-01-31"),
        (["--name", "a", "--expires", "2001-01-31"], "is over already"),
        (["--name", "a", "--role", "root"], "invalid choice"),
    ],
)
def test_a_bad_flag_ends_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], reason: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, "create", *flags)
    said = capsys.readouterr().err
    assert (ended.value.code, reason in said) == (2, True)
    assert "python -m llava_serve.keys create" in said


def test_a_name_that_is_taken_or_unknown_is_told(tmp_path: Path) -> None:
    run(tmp_path, "create", "--name", "alice")
    with pytest.raises(SystemExit, match="there is a key named 'alice' already"):
        run(tmp_path, "create", "--name", "alice")
    with pytest.raises(SystemExit, match="'bob' does not exist"):
        run(tmp_path, "revoke", "--name", "bob")


def test_the_name_of_a_revoked_key_is_not_given_again_and_the_errors_say_what_is_left(
    tmp_path: Path,
) -> None:
    run(tmp_path, "create", "--name", "alice")
    run(tmp_path, "revoke", "--name", "alice")
    with pytest.raises(SystemExit, match="a revoked key keeps its own"):
        run(tmp_path, "create", "--name", "alice")
    with pytest.raises(SystemExit, match=r"'alice' is revoked\..* create makes another one"):
        run(tmp_path, "rotate", "--name", "alice")


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="cannot be made"):
        run(tmp_path / "file" / "state", "create", "--name", "alice")


@pytest.mark.parametrize("words", [["list"], ["revoke", "--name", "a"], ["rotate", "--name", "a"]])
def test_a_misspelt_folder_is_told_and_nothing_is_made(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"there are no accounts at .*state/accounts\.sqlite"):
        run(tmp_path / "state", *words)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["destroy"]])
def test_without_a_command_the_usage_is_shown(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        keys.main(words)
    assert ended.value.code == 2
    assert "keys revoke --name NAME" in capsys.readouterr().err


def test_what_was_made_now_was_made_now(tmp_path: Path) -> None:
    run(tmp_path, "create", "--name", "alice")
    (key,) = stored(tmp_path)
    assert abs(key.created_at - time.time()) < 600
