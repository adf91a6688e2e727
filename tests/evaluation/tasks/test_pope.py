"""POPE: metrics equal those LLaVA's evaluation prints; questions and answers are paired."""

from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.pope import Pope
from tests.evaluation.tasks.answering import (
    SHORT,
    answered,
    draw,
    metrics_of,
    original,
    write_lines,
)

CATEGORIES = {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}
PRINTED = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1 score": "f1",
    "Yes ratio": "yes_ratio",
}
RUNS = original("pope")["runs"]


def authors_files(folder: Path, labels: dict[str, str]) -> None:
    for category, letters in labels.items():
        write_lines(folder / f"coco/coco_pope_{category}.json", map(labelled, enumerate(letters)))


def labelled(numbered: tuple[int, str]) -> dict[str, Any]:
    number, letter = numbered
    return {
        "question_id": number + 1,
        "image": f"COCO_val2014_{number:012d}.jpg",
        "text": f"Is there a thing {number} in the image?",
        "label": {"y": "yes", "n": "no"}[letter],
    }


def llavas_file(folder: Path, labels: dict[str, str]) -> None:
    write_lines(
        folder / "llava_pope_test.jsonl",
        (
            {
                "question_id": first_id + entry["question_id"],
                "image": entry["image"],
                "text": entry["text"] + SHORT,
                "category": category,
            }
            for category, first_id in CATEGORIES.items()
            for entry in map(labelled, enumerate(labels.get(category, "")))
        ),
    )


def test_metrics_of_every_constructed_run_equal_what_the_original_prints(tmp_path: Path) -> None:
    compared = 0
    for number, run in enumerate(RUNS):
        folder = tmp_path / str(number)
        authors_files(folder, run["labels"])
        llavas_file(folder, run["labels"])
        task = Pope(folder)
        found = metrics_of(task, answered(task, run["answers"]))
        for category, printed in run["printed"].items():
            ours = {name: found[f"{category}/{PRINTED[name]}"] for name in printed}
            assert ours == printed
            compared += 1
        if run["error"] is None:
            assert len(run["printed"]) == 3
            f1 = [printed["F1 score"] for printed in run["printed"].values()]
            assert found["f1"] == pytest.approx(sum(f1) / 3, abs=1e-15)
        else:
            assert any(f"{category}/f1" not in found for category in CATEGORIES)
            assert "f1" not in found
    assert compared > 130


def test_a_model_that_never_says_yes_has_no_precision(tmp_path: Path) -> None:
    authors_files(tmp_path, {"random": "yn"})
    task = Pope(tmp_path)
    assert metrics_of(task, answered(task, ["No", "There is no, such thing"])) == {
        **{"accuracy": 0.5, "recall": 0.0, "yes_ratio": 0.0},
        **{"random/accuracy": 0.5, "random/recall": 0.0, "random/yes_ratio": 0.0},
    }


def test_the_authors_files_alone_give_llavas_questions(tmp_path: Path) -> None:
    labels = {"popular": "yn", "random": "ny", "adversarial": "nn"}
    authors_files(tmp_path, labels)
    draw(tmp_path / "val2014" / "COCO_val2014_000000000000.jpg")
    own = list(Pope(tmp_path).questions())
    llavas_file(tmp_path, labels)
    assert own == list(Pope(tmp_path).questions())
    assert [question.kind for question in own[::2]] == list(CATEGORIES)
    assert own[2].id == "10000001"
    assert own[0].turns[0].media[0].source.is_file()  # type: ignore[union-attr]


def test_one_category_may_be_asked_alone(tmp_path: Path) -> None:
    authors_files(tmp_path, {"popular": "yn", "random": "ny"})
    questions = list(Pope(tmp_path / "coco/coco_pope_popular.json").questions())
    assert [question.kind for question in questions] == ["popular", "popular"]
    assert questions[0].truth == "yes"


def test_answers_of_another_order_or_number_are_refused(tmp_path: Path) -> None:
    llavas_file(tmp_path, {"random": "yn"})
    home = tmp_path / "coco/coco_pope_random.json"
    write_lines(home, map(labelled, [(1, "n"), (0, "y")]))
    with pytest.raises(CommandError, match=r"line 1 asks .* the answer at .*line 1 is not"):
        next(Pope(tmp_path).questions())
    write_lines(home, [labelled((0, "y"))])
    with pytest.raises(CommandError, match=r"line 2 asks .* no answer is left"):
        list(Pope(tmp_path).questions())


def test_answers_without_a_question_are_paired_by_order(tmp_path: Path) -> None:
    llavas_file(tmp_path, {"random": "yn"})
    write_lines(tmp_path / "coco/coco_pope_random.json", [{"label": "yes"}, {"label": "no"}])
    assert [question.truth for question in Pope(tmp_path).questions()] == ["yes", "no"]


def test_a_category_without_answers_names_their_file(tmp_path: Path) -> None:
    llavas_file(tmp_path, {"random": "yn"})
    with pytest.raises(CommandError, match=r"coco_pope_random\.json is not there") as caught:
        next(Pope(tmp_path).questions())
    assert "AoiDragon/POPE" in caught.value.remedy


def test_a_line_that_is_no_answer_is_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "coco/coco_pope_random.json", [labelled((0, "y")), {"text": "no label"}])
    with pytest.raises(CommandError, match=r"coco_pope_random\.json, line 2"):
        list(Pope(tmp_path).questions())


def test_labels_of_another_encoding_are_named(tmp_path: Path) -> None:
    home = tmp_path / "coco/coco_pope_random.json"
    home.parent.mkdir(parents=True)
    home.write_bytes(b'{"label": "yes", "text": "caf\xe9"}\n')
    with pytest.raises(CommandError, match=r"line 1 of .*coco_pope_random\.json is no text"):
        list(Pope(tmp_path).questions())
