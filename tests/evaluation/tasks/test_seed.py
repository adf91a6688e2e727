"""SEED-Bench is graded and submitted as by LLaVA's script."""

import json
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.seed import SeedBench
from tests.evaluation.tasks.answering import answered, metrics_of, original, write_lines

CASES = original("seed")


def seed_of(folder: Path, file: dict[str, Any]) -> SeedBench:
    keys = ("question_id", "question_type_id", "data_type", "answer")
    questions = [dict(zip(keys, row, strict=True)) for row in file["annotations"]]
    annotations = {"questions": questions, "question_type": CASES["types"]}
    (folder / "SEED-Bench.json").write_text(json.dumps(annotations), encoding="utf-8")
    lines = [
        {"question_id": name, "image": f"SEED-Bench-image/{name}.png", "text": f"Which? {name}"}
        for name in file["lines"]
    ]
    write_lines(folder / "llava-seed-bench.jsonl", lines)
    return SeedBench(folder)


@pytest.mark.parametrize("file", CASES["files"])
def test_accuracies_and_submission_are_those_of_llava(tmp_path: Path, file: dict[str, Any]) -> None:
    task = seed_of(tmp_path, file)
    answers = answered(task, file["predictions"])
    found = metrics_of(task, answers)
    scores = file["scores"]
    assert found["accuracy"] * 100 == scores["all"].pop("total")
    assert found["image/accuracy"] * 100 == scores["image"]["total"]
    assert found["video/accuracy"] * 100 == scores["video"]["total"]
    by_type = {f"{name}/accuracy": percent for name, percent in scores["all"].items()}
    assert {name: found[name] * 100 for name in by_type} == by_type
    (path,) = task.write_submission(answers, tmp_path / "submission")
    assert path.read_text("utf-8") == file["upload"]


def test_the_question_is_llavas_line(tmp_path: Path) -> None:
    file = CASES["files"][0]
    question = next(seed_of(tmp_path, file).questions())
    name = file["lines"][0]
    assert question.prompt == f"Which? {name}"
    assert question.turns[0].media[0].source == tmp_path / "SEED-Bench-image" / f"{name}.png"
    assert question.metadata["question_id"] == name
    assert question.kind in CASES["types"]


def test_a_question_without_an_annotation_is_told(tmp_path: Path) -> None:
    task = seed_of(tmp_path, CASES["files"][0])
    write_lines(
        tmp_path / "llava-seed-bench.jsonl",
        [{"question_id": 1, "image": "1.png", "text": "Which?"}],
    )
    with pytest.raises(CommandError, match=r"line 1 has question 1, which SEED-Bench.json has not"):
        list(task.questions())


def test_an_answer_that_failed_is_not_submitted(tmp_path: Path) -> None:
    task = seed_of(tmp_path, CASES["files"][0])
    (path,) = task.write_submission(answered(task, [None] * 79 + ["A"]), tmp_path)
    (line,) = path.read_text("utf-8").splitlines()
    assert json.loads(line)["prediction"] == "A"
