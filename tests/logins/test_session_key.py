"""What a cookie holds is nobody else's to read or to change."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.logins.session_key import FILE_NAME, SessionKey


def test_what_was_sealed_is_opened_by_its_key_alone() -> None:
    sealed = SessionKey("a" * 43).seal({"owner": "alice"})
    assert "alice" not in sealed
    assert SessionKey("a" * 43).open(sealed, 60) == {"owner": "alice"}
    assert SessionKey("b" * 43).open(sealed, 60) is None


@pytest.mark.parametrize("change", [lambda text: text[:-4] + "AAA=", lambda _: "", lambda _: None])
def test_what_was_changed_opens_to_nothing(change: object) -> None:
    key = SessionKey("a" * 43)
    assert callable(change)
    assert key.open(change(key.seal(["alice"])), 60) is None


def test_what_is_too_old_opens_to_nothing() -> None:
    key = SessionKey("a" * 43)
    assert key.open(key.seal(["alice"]), -1) is None


def test_the_key_of_a_folder_stays_the_same_and_its_owner_s(tmp_path: Path) -> None:
    sealed = SessionKey.in_folder(tmp_path).seal(["alice"])
    assert SessionKey.in_folder(tmp_path).open(sealed, 60) == ["alice"]
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "short"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(CommandError, match="holds no key"):
        SessionKey.in_folder(tmp_path)


def test_an_opaque_name_tells_users_apart_and_not_who_they_are() -> None:
    key = SessionKey("a" * 43)
    alice, bob = key.user("alice", "alice"), key.user("bob", "bob")
    assert alice.opaque != bob.opaque
    assert alice.opaque == key.user("alice", "Alice", "changed").opaque
    assert alice.opaque != SessionKey("b" * 43).user("alice", "alice").opaque
