"""A folder holds one run, and one process writes it."""

import resource
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.manifest import Manifest
from llava_serve.evaluation.outcome import Outcome
from llava_serve.evaluation.run_folder import RunFolder, file_name, replaced, write_whole

MANIFEST = Manifest(
    task="jsonl",
    data="/data",
    digest="0" * 64,
    questions=3,
    model="m",
    max_tokens=128,
    started_at="2026-01-31T00:00:00+00:00",
)


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("task", "pope", "task"),
        ("digest", "1" * 64, "SHA-256 of all questions"),
        ("questions", 4, "number of questions"),
        ("model", "n", "model"),
        ("max_tokens", 1, "max_tokens"),
    ],
)
def test_another_run_is_refused_with_the_field_that_differs(
    field: str, value: object, name: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "new" / "run")
    with folder.opened(MANIFEST):
        pass
    other = MANIFEST.model_copy(update={field: value})
    with pytest.raises(
        CommandError, match=f"holds another run: its {name} is .*; it asked the questions of /data"
    ):
        folder.opened(other).__enter__()


def test_the_same_run_goes_on_at_another_time_with_moved_data(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.opened(MANIFEST) as first:
        assert first == MANIFEST
    later = MANIFEST.model_copy(update={"started_at": "2026-02-01", "data": "/moved"})
    with folder.opened(later) as second:
        assert second == MANIFEST


def test_one_process_at_a_time_holds_a_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.opened(MANIFEST):
        other = RunFolder(tmp_path).opened(MANIFEST)
        with pytest.raises(CommandError, match="another process is writing the run"):
            other.__enter__()
    with folder.opened(MANIFEST):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"cannot write .*: Not a directory"):
        RunFolder(tmp_path / "file" / "run").opened(MANIFEST).__enter__()


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(CommandError, match=r"holds no run that was graded: .*No such file"):
        folder.read_outcomes()


def test_a_file_of_another_version_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.manifest.write_text('{"version": 2}')
    with pytest.raises(CommandError, match=r"manifest\.json is not of this version: "):
        folder.opened(MANIFEST).__enter__()
    folder.outcomes.write_text('{"original": {}}')
    with pytest.raises(CommandError, match=r"outcomes\.json is not of this version: original"):
        folder.read_outcomes()


def test_outcomes_that_are_written_are_read(tmp_path: Path) -> None:
    outcome = Outcome(metrics={"accuracy": 0.5}, answered=2, failed={"busy": 1})
    RunFolder(tmp_path).write_outcomes({"original": outcome, "gray": outcome})
    assert RunFolder(tmp_path).read_outcomes() == {"original": outcome, "gray": outcome}


def test_a_file_that_is_not_finished_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(KeyError), replaced(path) as draft:
        draft.write_text("half")
        raise KeyError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_finds_no_room_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(CommandError, match=r"cannot write .*file: .*File too large"):
            write_whole(path, "after" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "file"), [("liuhaotian/llava-v1.5-7b", "liuhaotian-llava-v1.5-7b"), ("../..", "model")]
)
def test_the_name_of_a_model_is_a_files(name: str, file: str) -> None:
    assert file_name(name) == file


def test_names_too_long_for_a_file_are_cut_and_stay_apart(tmp_path: Path) -> None:
    names = [file_name(letter * 300 + end) for letter in ("n", "模") for end in ("a", "b")]
    for name in names:
        with replaced(tmp_path / f"{name}.jsonl") as draft:
            draft.write_text("")
    assert len(list(tmp_path.iterdir())) == len(names)


def test_a_disk_that_gets_full_while_a_folder_is_held_is_told(tmp_path: Path) -> None:
    def fill() -> None:
        with RunFolder(tmp_path).opened(MANIFEST), Path("/dev/full").open("wb", buffering=0) as f:
            f.write(b"graded")

    with pytest.raises(CommandError, match=f"cannot use {tmp_path}: No space left on device"):
        fill()
