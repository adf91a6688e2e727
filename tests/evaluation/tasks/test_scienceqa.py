"""ScienceQA is asked and graded as by LLaVA, and tabled as by its authors."""

import json
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.scienceqa import ScienceQA
from tests.evaluation.tasks.answering import answered, metrics_of, original
from tests.evaluation.tasks.drawn import png

CASES = original("scienceqa")
ENDING = "\nAnswer with the option's letter from the given choices directly."
COLUMNS = {
    "acc_natural": "NAT",
    "acc_social": "SOC",
    "acc_language": "LAN",
    "acc_has_text": "TXT",
    "acc_has_image": "IMG",
    "acc_no_context": "NO",
    "acc_grade_1_6": "G1-6",
    "acc_grade_7_12": "G7-12",
    "acc_biology": "biology",
    "acc_us-history": "us-history",
}


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "problems.json", CASES["problems"])
    write(tmp_path / "pid_splits.json", {"train": ["1000"], "test": CASES["test"]})
    return tmp_path


def test_prompts_of_llavas_file_are_those_that_it_asks(folder: Path) -> None:
    write(folder / "llava_test_CQM-A.json", CASES["questions"])
    asked = []
    for question in ScienceQA(folder).questions():
        (turn,) = question.turns
        shown = f"<image>\n{turn.text}" if turn.media else turn.text
        prompt = question.metadata.get("prompt", question.prompt)
        asked.append([question.id, shown, prompt])
    expected = [[name, shown, prompt or shown] for name, shown, prompt in CASES["prompts"]]
    assert asked == expected
    assert sum("<image>" in shown for _, shown, _ in asked) > 10


def test_without_llavas_file_questions_are_made_in_its_words(folder: Path) -> None:
    questions = {question.id: question for question in ScienceQA(folder).questions()}
    assert list(questions) == CASES["test"]
    for name, question in questions.items():
        problem = CASES["problems"][name]
        context = f"Context: {problem['hint']}\n" if problem["hint"] else ""
        options = "\n".join(f"{a}. {b}" for a, b in zip("ABCDE", problem["choices"], strict=False))
        text = f"{context}{problem['question']}\n{options}".replace("  ", " ").strip()
        assert question.prompt == text.replace("<image>", "").strip() + ENDING
        media = [medium.source for medium in question.turns[0].media]
        image = folder / "images" / "test" / name / "image.png"
        assert media == ([image] if problem["image"] else [])


@pytest.mark.parametrize("case", range(len(CASES["files"])))
def test_metrics_are_those_of_both_scripts(folder: Path, case: int) -> None:
    file = CASES["files"][case]
    task = ScienceQA(folder)
    answers = answered(task, file["answers"])
    found = metrics_of(task, answers)
    right, wrong = file["img"]
    assert found["accuracy"] * 100 == file["acc"]
    assert found["img_accuracy"] == right / (right + wrong)
    for theirs, ours in COLUMNS.items():
        assert found[f"{ours}/accuracy"] == file["scores"][theirs]
    (path,) = task.write_submission(answers, folder / "submission")
    result = json.loads(path.read_text("utf-8"))
    assert (result["acc"], result["correct"]) == (file["acc"], file["correct"])
    assert list(result["results"].items()) == list(zip(CASES["test"], file["results"], strict=True))
    assert list(result["outputs"].values()) == file["answers"]


def test_an_answer_that_failed_is_in_the_result_file_as_llava_writes_it(folder: Path) -> None:
    task = ScienceQA(folder)
    texts: list[str | None] = ["A"] * len(CASES["test"])
    texts[1] = None
    (path,) = task.write_submission(answered(task, texts), folder)
    result = json.loads(path.read_text("utf-8"))
    name = CASES["test"][1]
    assert (result["results"][name], result["outputs"][name]) == (-1, "FAILED")


def test_a_problem_that_cannot_be_right_is_told(folder: Path) -> None:
    problem = {**CASES["problems"]["1007"], "choices": ["a", "b"], "answer": 2}
    write(folder / "problems.json", {"1007": problem})
    with pytest.raises(CommandError, match=r"problem 1007 of .* has 2 choices, .* choice 2"):
        list(ScienceQA(folder).questions())
    write(folder / "problems.json", {"1007": {**problem, "choices": "a or b"}})
    with pytest.raises(CommandError, match=r"'1007' of .*problems.json .* choices: "):
        list(ScienceQA(folder).questions())
    write(folder / "problems.json", {})
    with pytest.raises(CommandError, match=r"pid_splits.json names problem"):
        list(ScienceQA(folder).questions())
    (folder / "problems.json").unlink()
    with pytest.raises(CommandError, match=r"problems.json is not there") as raised:
        list(ScienceQA(folder).questions())
    assert "github.com/lupantech/ScienceQA" in raised.value.remedy


def test_images_lie_by_the_ids_of_problems(folder: Path) -> None:
    name = next(name for name in CASES["test"] if CASES["problems"][name]["image"])
    path = folder / "images" / "test" / name / "image.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(png())
    question = next(one for one in ScienceQA(folder).questions() if one.id == name)
    assert question.turns[0].media[0].source == path
