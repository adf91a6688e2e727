"""GQA: accuracy and predictions equal the originals'; questions come from either file."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.gqa import Gqa
from tests.evaluation.tasks.answering import (
    SHORT,
    answered,
    metrics_of,
    original,
    sha256,
    write_json,
    write_lines,
)

ORIGINAL = original("gqa")
CASES = ORIGINAL["questions"]
AUTHORS = "testdev_balanced_questions.json"
NAMES = {"attr": "attribute", "cat": "category", "global": "scene", "obj": "object"} | {
    "rel": "relation",
    "Accuracy": "",
}


def authors_file(folder: Path) -> None:
    entries = {
        case[0]: {
            "question": f"Is this {case[0]}?",
            "imageId": case[1],
            "answer": case[2],
            "isBalanced": case[3],
            "types": {"structural": case[4], "semantic": case[5], "detailed": "x"},
        }
        for case in CASES
    }
    write_json(folder / AUTHORS, entries)


def llavas_file(folder: Path) -> None:
    write_lines(
        folder / "llava_gqa_testdev_balanced.jsonl",
        (
            {"question_id": case[0], "image": f"{case[1]}.jpg", "text": "Is it?" + SHORT}
            for case in CASES
        ),
    )


def test_accuracy_and_predictions_of_the_constructed_answers_equal_the_originals(
    tmp_path: Path,
) -> None:
    llavas_file(tmp_path)
    authors_file(tmp_path / "data")
    task = Gqa(tmp_path)
    answers = answered(task, [case[6] for case in CASES])
    expected = {}
    for name, printed in ORIGINAL["printed"].items():
        if name not in ("Validity", "Plausibility"):
            part = NAMES.get(name, name.lower())
            expected[f"{part}/accuracy".lstrip("/")] = printed
    found = metrics_of(task, answers)
    assert {name: f"{100 * value:.12f}" for name, value in found.items()} == expected
    (path,) = task.write_submission(answers, tmp_path / "out")
    assert path.name == "testdev_balanced_predictions.json"
    assert sha256(path) == ORIGINAL["submission_sha256"]


@pytest.mark.parametrize("home", ["data", "data/questions1.2", "."])
def test_the_authors_file_alone_is_enough(tmp_path: Path, home: str) -> None:
    authors_file(tmp_path / home)
    (tmp_path / "data/images").mkdir(parents=True)
    questions = list(Gqa(tmp_path).questions())
    assert len(questions) == len(CASES)
    assert questions[0].prompt == f"Is this {CASES[0][0]}?" + SHORT
    assert questions[0].turns[0].media[0].source == tmp_path / f"data/images/{CASES[0][1]}.jpg"
    assert [question.truth for question in questions] == [case[2] for case in CASES]


def test_the_answers_are_needed(tmp_path: Path) -> None:
    llavas_file(tmp_path)
    with pytest.raises(CommandError, match=AUTHORS) as caught:
        next(Gqa(tmp_path).questions())
    assert "cs.stanford.edu" in caught.value.remedy


def test_a_question_that_the_authors_do_not_have_is_named(tmp_path: Path) -> None:
    llavas_file(tmp_path)
    write_json(tmp_path / "data" / AUTHORS, {})
    with pytest.raises(CommandError, match=r"line 1 asks question 20000000"):
        next(Gqa(tmp_path).questions())
