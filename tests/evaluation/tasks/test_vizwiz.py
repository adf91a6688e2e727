"""VizWiz: accuracy and submission equal the originals'; the test set is not graded."""

from pathlib import Path

import pytest

from llava_serve.evaluation.tasks.vizwiz import VizWiz
from tests.evaluation.tasks.answering import (
    SHORT,
    answered,
    metrics_of,
    original,
    sha256,
    write_json,
    write_lines,
)

ORIGINAL = original("vizwiz")
CASES = ORIGINAL["questions"]
WORDS = "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT


def authors_file(path: Path) -> None:
    write_json(
        path,
        [
            {
                "image": case[0],
                "question": case[1],
                "answer_type": case[2],
                "answers": [{"answer": truth, "answer_confidence": "yes"} for truth in case[3]],
            }
            for case in CASES
        ],
    )


def test_accuracy_and_submission_of_the_constructed_answers_equal_the_originals(
    tmp_path: Path,
) -> None:
    authors_file(tmp_path / "val.json")
    task = VizWiz(tmp_path)
    answers = answered(task, [case[4] for case in CASES])
    credits = [grade.credit * 100 for _, _, grade in answers if grade and grade.credit is not None]
    assert credits == pytest.approx([case[6] for case in CASES], abs=1e-9)
    found = {name: value * 100 for name, value in metrics_of(task, answers).items()}
    expected = {f"{kind}/accuracy": value for kind, value in ORIGINAL["by_answer_type"].items()}
    assert found == pytest.approx({"accuracy": ORIGINAL["overall"], **expected}, abs=1e-9)
    (path,) = task.write_submission(answers, tmp_path / "out")
    assert sha256(path) == ORIGINAL["submission_sha256"]


def test_a_question_of_the_authors_is_asked_in_llavas_words(tmp_path: Path) -> None:
    authors_file(tmp_path / "val.json")
    first, second, *_ = VizWiz(tmp_path).questions()
    assert first.prompt == "What is this 0? thanks" + WORDS
    assert second.metadata["question_id"] == 1
    assert first.turns[0].media[0].source == tmp_path / "val" / CASES[0][0]
    assert first.truth == CASES[0][3]


def test_the_test_set_is_asked_and_submitted_but_not_graded(tmp_path: Path) -> None:
    image = "VizWiz_test_00000000.jpg"
    line = {"question_id": 0, "image": image, "text": "What?" + WORDS, "category": "default"}
    write_lines(tmp_path / "llava_test.jsonl", [line, {**line, "question_id": 1}])
    write_json(tmp_path / "test.json", [{"image": image, "question": "What?"}])
    task = VizWiz(tmp_path)
    answers = answered(task, ["The Dog's", None])
    assert metrics_of(task, answers) == {}
    assert answers[0][0].turns[0].media[0].source == tmp_path / "test" / image
    (path,) = task.write_submission(answers, tmp_path / "out")
    assert path.name == "llava_test.json"
    assert path.read_text() == (
        f'[{{"image": "{image}", "answer": "dog \'s"}}, {{"image": "{image}", "answer": ""}}]'
    )
