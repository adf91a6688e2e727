"""The file of the page's users."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.logins.auth_file import check_name, read_users, write_users
from llava_serve.logins.passwords import hashed

HASH = hashed("x", 4)


def test_users_come_back_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "users"
    write_users(path, {"alice": HASH, "bob@example.com": HASH})
    assert read_users(path) == {"alice": HASH, "bob@example.com": HASH}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["users"]


def test_a_file_that_cannot_be_replaced_leaves_no_hashes_beside_it(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    with pytest.raises(CommandError, match="cannot be written"):
        write_users(tmp_path / "users", {"alice": HASH})
    assert [one.name for one in tmp_path.iterdir()] == ["users"]


def test_blank_lines_and_comments_are_no_users(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"# who may\n\n  alice:{HASH}\n")
    assert read_users(path) == {"alice": HASH}


@pytest.mark.parametrize(
    "line",
    ["alice", "alice:secret", f"a b:{HASH}", f":{HASH}", f"x:{HASH}"],
    ids=["no hash", "no hash's shape", "a space", "no name", "a second time"],
)
def test_a_wrong_line_is_named_and_not_shown(tmp_path: Path, line: str) -> None:
    path = tmp_path / "users"
    path.write_text(f"x:{HASH}\n{line}\n")
    with pytest.raises(CommandError, match="line 2 of") as refused:
        read_users(path)
    assert "secret" not in refused.value.with_remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        read_users(tmp_path / "none")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "x" * 65, "https://issuer#sub"])
def test_nobody_is_called_what_a_line_or_a_provider_s_user_could_be(name: str) -> None:
    with pytest.raises(CommandError, match="no name of a user"):
        check_name(name)
