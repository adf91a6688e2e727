"""LLaVA-Bench and MM-Vet are asked as by LLaVA, and left to a judge."""

import json
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.llava_bench import LlavaBench
from llava_serve.evaluation.tasks.mmvet import MMVet
from tests.evaluation.tasks.answering import answered, metrics_of, original, write_lines

LINES = [
    {"question_id": 0, "image": "001.jpg", "text": "What is it?", "category": "conv"},
    {"question_id": 1, "image": "001.jpg", "text": "Describe it.", "category": "detail"},
    {"question_id": 2, "image": "002.jpg", "text": "Why?", "category": "complex"},
]


def test_llava_bench_asks_its_questions_and_knows_gpt4s_answers(tmp_path: Path) -> None:
    write_lines(tmp_path / "questions.jsonl", LINES)
    write_lines(tmp_path / "answers_gpt4.jsonl", [{"question_id": 1, "text": "A circle."}])
    task = LlavaBench(tmp_path)
    questions = list(task.questions())
    assert [(one.prompt, one.kind, one.truth) for one in questions] == [
        ("What is it?", "conv", None),
        ("Describe it.", "detail", "A circle."),
        ("Why?", "complex", None),
    ]
    assert questions[2].turns[0].media[0].source == tmp_path / "images" / "002.jpg"
    assert questions[2].metadata["question_id"] == 2
    answers = answered(task, ["It is a circle.", "", "Because."])
    assert [grade.credit for _, _, grade in answers if grade] == [None] * 3
    assert metrics_of(task, answers) == {}
    assert task.write_submission(answers, tmp_path) == []


def test_a_reference_answer_that_is_none_is_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "questions.jsonl", LINES)
    write_lines(tmp_path / "answers_gpt4.jsonl", [{"question_id": 1, "text": "A."}, {"text": "B."}])
    with pytest.raises(CommandError, match=r"answers_gpt4.jsonl, line 2 is no answer"):
        list(LlavaBench(tmp_path).questions())


def test_mm_vets_results_are_written_as_by_llava(tmp_path: Path) -> None:
    case = original("mmvet")
    lines = [
        {"question_id": one["question_id"], "image": "v1_0.png", "text": "What is x?"}
        for one in case["answers"]
    ]
    write_lines(tmp_path / "llava-mm-vet.jsonl", lines)
    task = MMVet(tmp_path)
    answers = answered(task, [one["text"] for one in case["answers"]])
    (path,) = task.write_submission(answers, tmp_path / "submission")
    assert path.read_text("utf-8") == case["result"]
    assert metrics_of(task, answers) == {}


def test_mm_vets_own_file_tells_abilities_and_answers_or_is_asked_alone(tmp_path: Path) -> None:
    entry = {
        "imagename": "v1_5.png",
        "question": "What is x?",
        "answer": "-1<AND>-5",
        "capability": ["ocr", "math"],
    }
    (tmp_path / "mm-vet.json").write_text(json.dumps({"v1_5": entry}), encoding="utf-8")
    (alone,) = MMVet(tmp_path).questions()
    line = {"question_id": 5, "image": "v1_5.png", "text": "What is x?", "category": "conv"}
    write_lines(tmp_path / "llava-mm-vet.jsonl", [line, {**line, "question_id": 6}])
    first, second = MMVet(tmp_path).questions()
    assert alone == first
    assert (first.id, first.kind, first.truth) == ("5", "math, ocr", "-1<AND>-5")
    assert (second.kind, second.truth) == ("conv", None)
    assert first.turns[0].media[0].source == tmp_path / "images" / "v1_5.png"


def test_without_questions_it_is_told_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"llava-mm-vet.jsonl is not there") as raised:
        list(MMVet(tmp_path).questions())
    assert "eval.zip" in raised.value.remedy
    with pytest.raises(CommandError, match=r"questions.jsonl is not there"):
        list(LlavaBench(tmp_path).questions())
