"""VLMEvalKit's TSV files of every kind are asked, graded and counted as it does."""

import csv
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.option_question import CHINESE
from llava_serve.evaluation.tasks.tsv import Tsv
from llava_serve.evaluation.tasks.yes_no import read_yes_no
from tests.evaluation.tasks.answering import answered, metrics_of, original
from tests.evaluation.tasks.drawn import in_base64, png, write_tsv

CASES = original("tsv")
CHOICES = {file["name"]: file for file in CASES["choice"]}
OPEN = {file["name"]: file for file in CASES["open"]}


def choice_task(folder: Path, name: str) -> Tsv:
    file = CHOICES[name]
    place = file["columns"].index("image")
    rows = [[*row[:place], in_base64(), *row[place:]] for row in file["rows"]]
    return Tsv(write_tsv(folder / f"{name}.tsv", file["columns"], rows))


@pytest.mark.parametrize("name", CHOICES)
def test_prompts_with_options_are_those_of_llava_in_vlmevalkit(tmp_path: Path, name: str) -> None:
    questions = list(choice_task(tmp_path, name).questions())
    expected = CHOICES[name]["prompts"]
    assert [question.prompt for question in questions[: len(expected)]] == expected
    assert any(CHINESE in prompt for prompt in expected)


@pytest.mark.parametrize("name", CHOICES)
def test_accuracy_of_options_is_that_of_vlmevalkit(tmp_path: Path, name: str) -> None:
    task = choice_task(tmp_path, name)
    found = metrics_of(task, answered(task, CHOICES[name]["predictions"]))
    expected = {}
    for metric, scores in CHOICES[name]["scores"].items():
        for split, score in scores.items():
            prefix = "" if split == "all" else f"split/{split}/"
            for part, value in score.items():
                part = f"l2-category/{part}" if part in ("low", "high") else part
                key = f"{prefix}{part}/{metric}" if part != "Overall" else f"{prefix}{metric}"
                expected[key] = value
    assert len(expected) > 15
    assert {name: found.get(name) for name in expected} == expected
    assert ("circular_accuracy" in found) == ("circular" in name)


@pytest.mark.parametrize("case", CASES["yes_no"])
@pytest.mark.parametrize("name", ["Drawn_YN", "POPE"])
def test_yes_and_no_are_read_and_counted_as_by_vlmevalkit(
    tmp_path: Path, case: dict[str, Any], name: str
) -> None:
    columns = ["index", "category", "l2-category", "answer", "question"]
    rows = [[*row[:4], "Is it there?"] for row in case["rows"]]
    task = Tsv(write_tsv(tmp_path / f"{name}.tsv", columns, rows))
    texts = [row[4] for row in case["rows"]]
    assert [read_yes_no(text) or "Unknown" for text in texts] == case["extracted"]
    found = metrics_of(task, answered(task, texts))
    assert next(task.questions()).prompt == "Is it there?"
    for part, percent in case["default"].items():
        key = {"Overall": "accuracy", "x": "l2-category/x/accuracy", "y": "l2-category/y/accuracy"}
        assert found[key.get(part, f"{part}/accuracy")] == pytest.approx(percent / 100, rel=1e-12)
    for row in case["pope"]:
        prefix = "" if row["split"] == "Overall" else f"{row['split']}/"
        names = {"Overall": "f1", "acc": "accuracy", "precision": "precision", "recall": "recall"}
        for theirs, ours in names.items():
            assert found[f"{prefix}{ours}"] == pytest.approx(row[theirs] / 100, rel=1e-12)


def test_a_question_of_pope_counts_for_each_of_its_categories(tmp_path: Path) -> None:
    rows = [[1, "random,popular", "Is it?", "Yes"], [2, "random", "Is it?", "No"]]
    columns = ["index", "category", "question", "answer"]
    task = Tsv(write_tsv(tmp_path / "POPE.tsv", columns, rows))
    found = metrics_of(task, answered(task, ["Yes", "Yes"]))
    assert found["accuracy"] == 2 / 3
    assert (found["random/accuracy"], found["popular/accuracy"]) == (0.5, 1)


@pytest.mark.parametrize("name", OPEN)
def test_open_answers_are_graded_as_by_vlmevalkit(tmp_path: Path, name: str) -> None:
    case = OPEN[name]
    columns = ["index", "category", "answer", "question"]
    rows = [[*row[:3], "What is it?"] for row in case["rows"]]
    task = Tsv(write_tsv(tmp_path / f"{name}.tsv", columns, rows))
    answers = answered(task, [row[3] for row in case["rows"]])
    prompt = "What is it?\nAnswer the question using a single word or phrase."
    assert answers[0][0].prompt == prompt
    credits = [grade.credit for _, _, grade in answers if grade is not None]
    assert credits == pytest.approx(case["hits"], rel=1e-12)
    found = metrics_of(task, answers)
    assert found["accuracy"] == pytest.approx(case["scores"]["Overall"] / 100, rel=1e-12)
    assert found["c1/accuracy"] == pytest.approx(case["scores"]["c1"] / 100, rel=1e-12)


def test_one_right_answer_of_another_file_is_compared_in_normal_form(tmp_path: Path) -> None:
    columns = ["index", "question", "answer"]
    rows = [[1, "How many?", "two"], [2, "What?", "a red car"]]
    task = Tsv(write_tsv(tmp_path / "own.tsv", columns, rows))
    assert metrics_of(task, answered(task, ["2", "The red car."])) == {"accuracy": 1}


def test_images_stand_in_the_field_in_a_list_or_in_another_row(tmp_path: Path) -> None:
    columns = ["index", "image", "question", "answer"]
    rows = [
        [1, "3", "Which?", "red"],
        [2, f"['{in_base64(1)}', '{in_base64(2)}']", "Which?", "red"],
        [3, in_base64(3), "Which?", "red"],
        [4, "3", "Which?", "red"],
        [5, "", "Which?", "red"],
    ]
    task = Tsv(write_tsv(tmp_path / "own.tsv", columns, rows))
    media = [[medium.source for medium in one.turns[0].media] for one in task.questions()]
    assert media == [[png(3)], [png(1), png(2)], [png(3)], [png(3)], []]


def test_image_paths_are_found_beside_the_file_and_under_images(tmp_path: Path) -> None:
    for place in ("a.png", "images/own/b.png", "images/c.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(png())
    whole = tmp_path / "images" / "c.png"
    columns = ["index", "image_path", "question", "answer"]
    rows = [
        [1, "a.png", "Which?", "red"],
        [2, "['b.png', 'c.png']", "Which?", "red"],
        [3, whole, "Which?", "red"],
        [4, "gone.png", "Which?", "red"],
    ]
    task = Tsv(write_tsv(tmp_path / "own.tsv", columns, rows))
    media = [[medium.source for medium in one.turns[0].media] for one in task.questions()]
    pictures = tmp_path / "images"
    assert media == [
        [tmp_path / "a.png"],
        [pictures / "own" / "b.png", pictures / "c.png"],
        [whole],
        [tmp_path / "gone.png"],
    ]


def test_predictions_are_written_beside_all_columns_but_the_image(tmp_path: Path) -> None:
    columns = ["index", "image", "question", "A", "B", "answer"]
    rows = [[7, in_base64(), "Which?", "x", "y", "A"], [8, in_base64(), "And?", "x", "", "A"]]
    task = Tsv(write_tsv(tmp_path / "own.tsv", columns, rows))
    (path,) = task.write_submission(answered(task, ["=A", "B"])[:1], tmp_path / "submission")
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            assert list(csv.reader(file)) == [
                ["index", "question", "A", "B", "answer", "prediction"],
                ["7", "Which?", "x", "y", "A", "=A"],
                ["8", "And?", "x", "", "A", ""],
            ]
    else:
        assert path.suffix == ".xlsx"
        assert path.stat().st_size > 1000


def test_a_folder_holds_one_file(tmp_path: Path) -> None:
    columns = ["index", "hint", "question", "answer"]
    write_tsv(tmp_path / "own.tsv", columns, [["9" * 5000, "none", "Which?", "red"]])
    (question,) = Tsv(tmp_path).questions()
    assert question.prompt.startswith("none\nWhich?\n")
    assert question.id == "9" * 5000
    write_tsv(tmp_path / "two.tsv", columns, [])
    with pytest.raises(CommandError, match=r"one TSV file, and holds own.tsv, two.tsv"):
        Tsv(tmp_path)
