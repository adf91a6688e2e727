"""One token for all who start at once, readable by its owner alone."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from llava_serve.cluster_token import bearer, is_shown, make_token, read_token, token_file


def test_the_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "cluster-token"
    token = read_token(path)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path) == token
    assert [file.name for file in path.parent.iterdir()] == ["cluster-token"]


def test_the_folder_of_a_new_token_is_its_owners_alone_and_one_that_is_there_is_left(
    tmp_path: Path,
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    for folder in (tmp_path / "new", there):
        read_token(folder / "cluster-token")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE(there.stat().st_mode) == 0o755


def test_the_log_says_once_where_the_token_is_and_never_what_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        token = read_token(tmp_path / "token")
        read_token(tmp_path / "token")
    assert caplog.text.count(f"made the cluster token in {tmp_path / 'token'}") == 1
    assert token not in caplog.text


def test_a_token_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("mine\n")
    assert not make_token(path)
    assert read_token(path) == "mine"


def test_processes_that_start_at_once_agree_on_the_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    program = (
        "import sys, pathlib; from llava_serve.cluster_token import read_token; "
        "sys.stdin.readline(); sys.stdout.write(read_token(pathlib.Path(sys.argv[1])))"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    tokens = {racer.communicate(timeout=60)[0] for racer in racers}
    assert tokens == {read_token(path)}


@pytest.mark.parametrize("content", ["", "\n", "two words", "ümlaut"])
def test_a_file_without_a_token_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match="--cluster-token-file"):
        read_token(path)


def test_a_folder_in_place_of_the_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--cluster-token-file"):
        read_token(tmp_path)


def test_the_token_lies_in_the_state_folder_unless_another_file_is_named(tmp_path: Path) -> None:
    assert token_file(None, tmp_path) == tmp_path / "cluster-token"
    assert token_file(tmp_path / "mine", tmp_path) == tmp_path / "mine"


def test_only_the_whole_token_opens() -> None:
    assert is_shown("secret", bearer("secret")["Authorization"])
    for shown in (None, "", "secret", "Bearer", "Bearer secre", "Bearer secret ", "Bearer sécret"):
        assert not is_shown("secret", shown)
