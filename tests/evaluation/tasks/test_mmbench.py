"""MMBench is asked, graded and submitted exactly as LLaVA's and VLMEvalKit's scripts do."""

import csv
import importlib
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.mmbench import MMBench, MMBenchCN
from tests.evaluation.tasks.answering import answered, metrics_of, original
from tests.evaluation.tasks.drawn import in_base64, png, write_tsv

FILES = {file["name"]: file for file in original("mmbench")}
SHORT_NAMES = {  # VLMEvalKit's
    "coarse_perception": "CP",
    "attribute_reasoning": "AR",
    "logic_reasoning": "LR",
}


def written(folder: Path, file: dict[str, Any]) -> Path:
    place = file["columns"].index("image")
    rows = [
        [*row[:place], in_base64(number % 7), *row[place:]]
        for number, row in enumerate(file["rows"])
    ]
    return write_tsv(folder / f"{file['name']}.tsv", file["columns"], rows)


def task_of(folder: Path, name: str) -> MMBench:
    kind = MMBenchCN if name.endswith("_cn") else MMBench
    return kind(written(folder, FILES[name]))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("metric", ["accuracy", "vanilla", "circular"])
def test_metrics_are_those_of_vlmevalkit(tmp_path: Path, name: str, metric: str) -> None:
    task = task_of(tmp_path, name)
    found = metrics_of(task, answered(task, FILES[name]["predictions"]))
    key = metric if metric == "accuracy" else f"{metric}_accuracy"
    scores = FILES[name]["scores"][metric]
    assert found[key] == scores["all"]["Overall"]
    splits = {split: scores[split] for split in scores if split != "all"}
    parts = {"": scores["all"]}
    if len(splits) > 1:
        parts |= {f"split/{split}/": score for split, score in splits.items()}
    compared = 0
    for prefix, score in parts.items():
        for category in {
            row[FILES[name]["columns"].index("category")] for row in FILES[name]["rows"]
        }:
            expected = score.get(SHORT_NAMES.get(category, category))
            assert found.get(f"{prefix}{category}/{key}") == expected, (prefix, category)
            compared += expected is not None
    assert compared > 2


@pytest.mark.parametrize("name", FILES)
def test_circular_accuracy_is_that_of_lmms_eval(tmp_path: Path, name: str) -> None:
    """Its rules read other answers otherwise; these give letters alone, or nothing."""
    task = task_of(tmp_path, name)
    case = FILES[name]["lmms_eval"]
    found = metrics_of(task, answered(task, case["predictions"]))
    assert found["circular_accuracy"] == case["overall"]
    for prefix, column in (("", "category"), ("l2-category/", "l2-category")):
        for part, accuracy in case[column].items():
            assert found[f"{prefix}{part}/circular_accuracy"] == accuracy


@pytest.mark.parametrize("name", FILES)
def test_prompts_are_those_of_llava(tmp_path: Path, name: str) -> None:
    questions = list(task_of(tmp_path, name).questions())
    expected = FILES[name]["prompts"]
    asked = [
        [
            question.metadata["question_id"],
            question.metadata["round_id"],
            f"<image>\n{question.prompt}",
            question.metadata["prompt"],
            question.metadata["options"],
            question.metadata["option_char"],
        ]
        for question in questions[: len(expected)]
    ]
    assert asked == expected


def table(path: Path) -> list[list[Any]]:
    """Return the cells of a workbook or of a CSV file."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [[cell or None for cell in row] for row in csv.reader(file)]
    sheet = importlib.import_module("openpyxl").load_workbook(path).active
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def in_text(rows: list[list[Any]]) -> list[list[Any]]:
    return [[None if cell is None else str(cell) for cell in row] for row in rows]


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name]["workbook"]])
def test_the_submission_is_that_of_llava(tmp_path: Path, name: str) -> None:
    task = task_of(tmp_path, name)
    texts = FILES[name]["predictions"]
    (path,) = task.write_submission(answered(task, texts), tmp_path / "submission")
    title, expected = FILES[name]["workbook"]
    found = table(path)
    if path.suffix == ".csv":
        assert in_text(found) == [[cell or None for cell in row] for row in in_text(expected)]
    else:
        assert title == "Sheet1"
        assert found == [[cell if cell != "" else None for cell in row] for row in expected]


def test_a_row_that_was_not_asked_has_no_prediction(tmp_path: Path) -> None:
    task = task_of(tmp_path, "mmbench_lone")
    answers = answered(task, ["B", None, *["A"] * 18])[:3]
    (path,) = task.write_submission(answers, tmp_path)
    header, *rows = table(path)
    place = header.index("prediction")
    assert [row[place] for row in rows] == ["B", None, "A", *[None] * 17]


def test_a_folder_holds_the_file_of_llava_or_one_other(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"mmbench_dev_20230712.tsv .* holds none"):
        MMBench(tmp_path)
    columns = ["index", "question", "A", "B", "answer", "image"]
    write_tsv(tmp_path / "other.tsv", columns, [[1, "Which?", "x", "y", "B", in_base64(3)]])
    (question,) = MMBench(tmp_path).questions()
    assert question.turns[0].media[0].source == png(3)
    write_tsv(tmp_path / "mmbench_dev_20230712.tsv", columns, [])
    assert list(MMBench(tmp_path).questions()) == []


def test_without_an_answer_in_the_file_nothing_is_graded(tmp_path: Path) -> None:
    columns = ["index", "question", "A", "B", "image"]
    path = write_tsv(tmp_path / "test.tsv", columns, [[1, "Which?", "x", "y", in_base64()]])
    task = MMBench(path)
    assert metrics_of(task, answered(task, ["B"])) == {}
