"""What is missing is named, with where it comes from."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.task_files import NeededFile, folder_and_questions

NEEDED = NeededFile(("a.jsonl", "b.json", "c.json"), "the questions", "https://example.org")


def test_the_first_name_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "c.json").touch()
    assert folder_and_questions(tmp_path, NEEDED) == (tmp_path, tmp_path / "c.json")
    (tmp_path / "b.json").touch()
    assert folder_and_questions(tmp_path, NEEDED) == (tmp_path, tmp_path / "b.json")
    assert folder_and_questions(tmp_path / "c.json", NEEDED) == (tmp_path, tmp_path / "c.json")


def test_an_empty_folder_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        folder_and_questions(tmp_path, NEEDED)
    assert caught.value.with_remedy == (
        f"{tmp_path / 'a.jsonl'} is not there (nor b.json or c.json): it holds the questions. "
        "Get it from https://example.org, and put it there."
    )


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"missing is not there"):
        folder_and_questions(tmp_path / "missing", NEEDED)
