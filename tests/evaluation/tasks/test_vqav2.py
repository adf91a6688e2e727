"""VQAv2: accuracy and submission equal the originals'; questions come from either file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.vqa_accuracy import vqav2_accuracy
from llava_serve.evaluation.tasks.vqav2 import VqaV2
from tests.evaluation.tasks.answering import (
    SHORT,
    answered,
    draw,
    metrics_of,
    original,
    sha256,
    write_json,
    write_lines,
)

ORIGINAL = original("vqav2")
CASES = ORIGINAL["questions"]


def authors_files(folder: Path) -> None:
    questions = [
        {"question_id": case[0], "image_id": case[1], "question": f"What is {case[0]}?"}
        for case in CASES
    ]
    annotations = [
        {
            "question_id": case[0],
            "question_type": case[2],
            "answer_type": case[3],
            "answers": [{"answer": truth, "answer_id": n} for n, truth in enumerate(case[4])],
        }
        for case in CASES
    ]
    write_json(
        folder / "v2_OpenEnded_mscoco_val2014_questions.json",
        {"info": {"year": 2017}, "license": {}, "questions": questions},
    )
    write_json(
        folder / "v2_mscoco_val2014_annotations.json",
        {"info": {}, "annotations": annotations, "data_type": "mscoco"},
    )


def llavas_file(path: Path, ids: list[int]) -> None:
    write_lines(path, map(llavas_line, ids))


def llavas_line(question_id: int) -> dict[str, Any]:
    image = f"COCO_test2015_{question_id:012d}.jpg"
    return {"question_id": question_id, "image": image, "text": "Is it?" + SHORT, "category": "x"}


def test_accuracy_of_every_constructed_answer_equals_the_originals(tmp_path: Path) -> None:
    authors_files(tmp_path)
    task = VqaV2(tmp_path)
    answers = answered(task, [case[5] for case in CASES])
    credits = [grade.credit * 100 for _, _, grade in answers if grade and grade.credit is not None]
    assert credits == pytest.approx([case[7] for case in CASES], abs=1e-9)
    assert [grade.parsed for _, _, grade in answers if grade] == [case[6] for case in CASES]
    found = {name: value * 100 for name, value in metrics_of(task, answers).items()}
    parts = ORIGINAL["by_question_type"] | ORIGINAL["by_answer_type"]
    expected = {f"{part}/accuracy": value for part, value in parts.items()}
    assert found == pytest.approx({"accuracy": ORIGINAL["overall"], **expected}, abs=1e-9)
    assert round(found["accuracy"], 2) == ORIGINAL["overall_printed"]


def test_an_answer_that_is_not_converted_counts_as_in_the_official_evaluation() -> None:
    found = [100 * vqav2_accuracy(case[5], case[4]) for case in CASES]
    assert found == pytest.approx([case[8] for case in CASES], abs=1e-9)
    assert sum(found) / len(found) == pytest.approx(ORIGINAL["overall_unconverted"], abs=1e-9)


def test_the_submission_is_the_bytes_of_llavas_converter(tmp_path: Path) -> None:
    authors_files(tmp_path)
    task = VqaV2(tmp_path)
    (path,) = task.write_submission(answered(task, [case[5] for case in CASES]), tmp_path / "out")
    assert path.name == "v2_OpenEnded_mscoco_val2014_questions.json"
    assert sha256(path) == ORIGINAL["submission_sha256"]


def test_questions_of_the_whole_test_that_were_not_asked_get_empty_answers(tmp_path: Path) -> None:
    llavas_file(tmp_path / "llava_vqav2_mscoco_test-dev2015.jsonl", [case[0] for case in CASES])
    llavas_file(tmp_path / "llava_vqav2_mscoco_test2015.jsonl", ORIGINAL["whole_test"])
    task = VqaV2(tmp_path)
    answers = answered(task, [case[5] for case in CASES])
    (path,) = task.write_submission(answers, tmp_path / "out")
    assert path.name == "llava_vqav2_mscoco_test-dev2015.json"
    assert sha256(path) == ORIGINAL["whole_submission_sha256"]
    assert metrics_of(task, answers) == {}  # answers of the test set are not public


def test_a_failed_answer_is_submitted_empty(tmp_path: Path) -> None:
    llavas_file(tmp_path / "llava_vqav2_mscoco_test-dev2015.jsonl", [1, 2])
    task = VqaV2(tmp_path)
    (path,) = task.write_submission(answered(task, ["A dog.", None]), tmp_path)
    assert path.read_text() == (
        '[{"question_id": 1, "answer": "dog"}, {"question_id": 2, "answer": ""}]'
    )


def test_a_question_of_the_authors_is_asked_in_llavas_words(tmp_path: Path) -> None:
    authors_files(tmp_path)
    first, *_ = VqaV2(tmp_path).questions()
    draw(first.turns[0].media[0].source)  # type: ignore[arg-type]
    assert first.id == str(CASES[0][0])
    assert first.metadata["question_id"] == CASES[0][0]
    assert first.prompt == f"What is {CASES[0][0]}?" + SHORT
    assert first.kind == CASES[0][3]
    assert (tmp_path / "val2014" / f"COCO_val2014_{CASES[0][1]:012d}.jpg").is_file()


def test_a_question_file_may_be_named_itself(tmp_path: Path) -> None:
    authors_files(tmp_path)
    llavas_file(tmp_path / "llava_vqav2_mscoco_test-dev2015.jsonl", [1])
    named = VqaV2(tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json")
    assert len(list(named.questions())) == len(CASES)
    (question,) = VqaV2(tmp_path).questions()
    assert question.turns[0].media[0].source == tmp_path / "test2015/COCO_test2015_000000000001.jpg"


def test_a_folder_without_questions_names_the_file_and_its_home(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        next(VqaV2(tmp_path).questions())
    assert "llava_vqav2_mscoco_test-dev2015.jsonl is not there" in caught.value.message
    assert "questions of VQAv2" in caught.value.message
    assert "visualqa.org" in caught.value.remedy


def broken(folder: Path) -> Iterator[tuple[str, str]]:
    name = "v2_OpenEnded_mscoco_val2014_questions.json"
    yield name, '{"questions": [{"question_id": 1, "image_id": 2}]}'
    yield name, '{"questions": [{"question_id": 1'
    yield name, '{"annotations": []}'
    yield "llava_vqav2_mscoco_test-dev2015.jsonl", '{"question_id": 1, "image": "a"}\n'


@pytest.mark.parametrize("number", range(4))
def test_a_file_of_another_form_is_named_with_the_place(tmp_path: Path, number: int) -> None:
    name, text = list(broken(tmp_path))[number]
    (tmp_path / name).write_text(text)
    with pytest.raises(CommandError, match=r"question 1|at character|line 1") as caught:
        list(VqaV2(tmp_path).questions())
    assert name in caught.value.message


def test_annotations_of_another_split_are_refused(tmp_path: Path) -> None:
    authors_files(tmp_path)
    write_json(tmp_path / "v2_mscoco_val2014_annotations.json", {"annotations": []})
    with pytest.raises(CommandError, match=f"asks question {CASES[0][0]}"):
        next(VqaV2(tmp_path).questions())
