"""The command that says who may sign in at the page."""

import subprocess
import sys
from pathlib import Path

import pytest

from llava_serve.logins.auth_file import read_users
from llava_serve.logins.passwords import is_password_of


def run(*flags: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "llava_serve.page_users", *flags],
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


def test_users_are_added_listed_given_a_new_password_and_removed(tmp_path: Path) -> None:
    file = str(tmp_path / "users")
    assert run("add", "alice", "--auth-file", file, typed="first password\n").returncode == 0
    assert run("add", "bob", "--auth-file", file, typed="another one\n").returncode == 0
    assert run("list", "--auth-file", file).stdout == "alice\nbob\n"
    again = run("add", "alice", "--auth-file", file, typed="second password\n")
    assert again.stdout == "alice has a new password\n"
    users = read_users(Path(file))
    assert is_password_of(users["alice"], "second password")
    assert run("remove", "bob", "--auth-file", file).returncode == 0
    assert list(read_users(Path(file))) == ["alice"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["add", "alice"], "--auth-file"),
        (["add", "a b", "--auth-file", "FILE"], "no name of a user"),
        (["add", "alice", "--auth-file", "FILE"], "it needs 8 to"),
        (["remove", "alice", "--auth-file", "FILE"], "No such file"),
        (["add"], "usage:"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_written(
    tmp_path: Path, flags: list[str], told: str
) -> None:
    file = tmp_path / "users"
    done = run(*[str(file) if flag == "FILE" else flag for flag in flags], typed="short\n")
    assert done.returncode != 0 and told in done.stderr
    assert "Traceback" not in done.stderr
    assert not file.exists()
