"""Tasks are found by name, and all of them keep the names they are found by."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.registry import TASKS, open_task


def test_an_unknown_task_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"there is no task 'vqa'; known: .*jsonl"):
        open_task("vqa", tmp_path)


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="gone is not there"):
        open_task("jsonl", tmp_path / "gone")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_opened_by_its_name(name: str, tmp_path: Path) -> None:
    data = tmp_path / "data.tsv"
    data.write_text("index\tquestion\tanswer\n")
    task = open_task(name, data)
    assert task.name == name
    assert task.main_metric
    assert task.max_tokens > 0
