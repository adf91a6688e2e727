"""Answers are graded into files that reports, LLaVA's scripts and the task's authors read."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from llava_serve.evaluation.answer_record import AnswerFailure, AnswerRecord
from llava_serve.evaluation.answers_file import AnswersFile
from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.grading import Grading
from llava_serve.evaluation.run_folder import RunFolder
from llava_serve.evaluation.task import Answered
from llava_serve.evaluation.tasks.chat_lines import ChatLines
from tests.evaluation.answering import read_lines, text_line, write_lines

LINES = [
    {"question_id": 5, "image": "a.png", "text": "<image>\nWhat?", "answer": "yes"},
    text_line(1, kind="even"),
    text_line(2, answer="other"),
]
RECORDS = [
    AnswerRecord(index=2, text="q2"),
    AnswerRecord(index=0, text=" yes\n", logprob=-0.5, tokens=2, first_token_s=0.1, total_s=0.2),
    AnswerRecord(index=1, failure=AnswerFailure(code="media_unreadable", message="damaged")),
]


class Submitting(ChatLines):
    """The task with a submission file of one line an answer."""

    def write_submission(self, answered: Iterable[Answered], folder: Path) -> list[Path]:
        path = folder / "submission.txt"
        path.write_text(
            "".join(
                f"{question.id} {record.text} {grade and grade.credit}\n"
                for question, record, grade in answered
            )
        )
        return [path]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    write_lines(tmp_path / "questions.jsonl", LINES)
    return RunFolder(tmp_path)


def grade(folder: RunFolder, task: ChatLines, images: str = "original") -> object:
    path = folder.answers(images)  # type: ignore[arg-type]
    with AnswersFile(path, len(LINES)) as answers:
        for record in RECORDS:
            answers.append(record)
        grading = Grading(task, task.questions, folder, "org/model")
        return grading.grade(images, answers)  # type: ignore[arg-type]


def test_the_outcome_is_of_what_was_answered(folder: RunFolder) -> None:
    outcome = grade(folder, ChatLines(folder.path))
    assert outcome.model_dump() == {  # type: ignore[attr-defined]
        "metrics": {"accuracy": 0.5},
        "answered": 2,
        "failed": {"media_unreadable": 1},
    }


def test_every_question_has_a_graded_line_in_its_place(folder: RunFolder) -> None:
    grade(folder, ChatLines(folder.path))
    lines = folder.graded("original").read_text().splitlines()
    first, failed, wrong = map(GradedAnswer.model_validate_json, lines)
    assert (first.id, first.truth, first.parsed, first.credit) == ("5", ["yes"], "yes", 1)
    assert (first.logprob, first.tokens, first.first_token_s, first.total_s) == (-0.5, 2, 0.1, 0.2)
    assert (failed.failure, failed.credit, failed.text) == ("media_unreadable", None, None)
    assert (failed.kind, failed.prompt) == ("even", "q1")
    assert (wrong.credit, [first.index, failed.index, wrong.index]) == (0, [0, 1, 2])


def test_llavas_answer_file_has_its_fields_and_no_failed_answer(folder: RunFolder) -> None:
    grade(folder, ChatLines(folder.path))
    first, second = read_lines(folder.path / "answers" / "org-model.jsonl")
    names = ["question_id", "prompt", "text", "answer_id", "model_id", "metadata"]
    assert list(first) == names
    assert (first["question_id"], first["prompt"], first["text"]) == (5, "<image>\nWhat?", "yes")
    assert (second["question_id"], second["model_id"]) == ("q2", "org/model")
    assert first["answer_id"] != second["answer_id"]


def test_a_task_that_submits_gets_all_answers_in_order(folder: RunFolder) -> None:
    grade(folder, Submitting(folder.path))
    text = (folder.submission / "submission.txt").read_text()
    assert text == "5  yes\n 1.0\nq1 None None\nq2 q2 0.0\n"


def test_a_task_that_submits_nothing_leaves_no_folder(folder: RunFolder) -> None:
    grade(folder, ChatLines(folder.path))
    assert not folder.submission.exists()


def test_a_control_is_graded_into_its_own_file_alone(folder: RunFolder) -> None:
    grade(folder, Submitting(folder.path), "gray")
    assert len(read_lines(folder.path / "graded-gray.jsonl")) == 3
    assert not folder.submission.exists()
    assert not folder.llava_answers("org/model").exists()
