"""What an actor keeps for its launch: lines, a private folder, a free port."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.launching.placement.replica import (
    LineBuffer,
    ReplicaReport,
    free_port,
    private_folder,
)
from llava_serve.launching.placement.status import row_of
from tests.ports import free_ports


def test_lines_are_numbered_and_told_once() -> None:
    lines = LineBuffer("x")
    lines.line("x", "one")
    lines.line("sglang:x", "two")
    assert lines.after(0) == ((1, "one"), (2, "sglang:x: two"))
    lines.note("three")
    assert lines.after(2) == ((3, "three"),)


def test_of_too_many_lines_the_last_are_kept() -> None:
    lines = LineBuffer("x")
    for number in range(1500):
        lines.note(str(number))
    assert [text for _, text in lines.after(0)] == list(map(str, range(500, 1500)))


def test_the_token_lies_where_only_its_user_can_read_it_and_goes_with_the_processes() -> None:
    with private_folder("the-token") as folder:
        (file,) = folder.iterdir()
        assert (file.name, file.read_text().strip()) == ("cluster-token", "the-token")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)]
        assert modes == [0o700, 0o600]
    assert not folder.exists()


def test_the_folder_of_a_replica_that_was_killed_is_removed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = [f"llava-replica-{os.getpid()}-x", "llava-replica-x", "other"]
    for name in (f"llava-replica-{ended.pid}-x", *kept):
        (tmp_path / name).mkdir()
    with private_folder("the-token"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_a_port_that_is_taken_is_left_for_one_that_no_other_replica_has() -> None:
    first = free_ports(101)
    with serving.bind("127.0.0.1", first):
        assert free_port("127.0.0.1", first) == first + 100
    assert free_port("127.0.0.1", first) == first


def test_no_free_port_is_an_error_that_names_the_flags() -> None:
    with pytest.raises(CommandError, match="no port from 65536 up") as refused:
        free_port("127.0.0.1", 65536)
    assert "--worker-port" in refused.value.remedy


PLACE = ("tiny", "tiny#2", "10.0.0.2 (ab12)", "http://10.0.0.2:40001")


def _report(missing: str | None) -> ReplicaReport:
    address = "http://10.0.0.2:40001"
    return ReplicaReport("life", "10.0.0.2 (ab12)", address, missing, None, "tiny", 0.5, 3)


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (_report(None), (*PLACE, "ready", "0.5", 3)),
        (_report("loads"), (*PLACE, "starting: loads", "0.5", 3)),
        (None, ("tiny", "tiny#2", "", "", "waits for resources", "", "")),
    ],
)
def test_a_line_of_the_status_says_where_and_how_a_replica_is(
    report: ReplicaReport | None, shown: tuple[object, ...]
) -> None:
    assert row_of("tiny#2", report) == shown
