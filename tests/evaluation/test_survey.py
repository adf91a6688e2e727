"""Before anything is asked it is known how much there is, of which data, and what is missing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Medium, Question, Turn
from llava_serve.evaluation.survey import Survey
from llava_serve.evaluation.tasks.chat_lines import ChatLines
from tests.evaluation.answering import image_line, write_image, write_lines


def question(truth: object = None, *media: Medium) -> Question:
    return Question("1", (Turn("user", "text", media),), truth=truth)


def surveyed(*questions: Question) -> Survey:
    survey = Survey()
    survey.take(questions)
    return survey


def test_the_digest_stays_when_the_data_is_moved(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_image(data / "a.png")
    write_lines(data / "questions.jsonl", [image_line(1, "a.png", answer="yes")])
    before = surveyed(*ChatLines(data).questions())
    shutil.move(data, tmp_path / "moved")
    assert surveyed(*ChatLines(tmp_path / "moved").questions()).digest == before.digest
    assert before.questions == 1


def test_the_digest_is_of_questions_answers_media_and_settings() -> None:
    asked = [
        question(),
        question("yes"),
        question({"a", "b"}),
        question(None, Medium(b"file")),
        question(None, Medium(b"other")),
        Question("1", (Turn("user", "text"),), settings={"max_tokens": 1}),
    ]
    digests = {surveyed(one).digest for one in asked}
    assert len(digests) == len(asked)


def test_missing_files_are_counted(tmp_path: Path) -> None:
    there, missing = Medium(write_image(tmp_path / "a.png")), Medium(tmp_path / "b.png")
    survey = surveyed(question(None, there), question(None, missing, there))
    assert (survey.missing, survey.files) == (1, 3)
    assert survey.first_missing == tmp_path / "b.png"


def test_a_task_whose_files_are_all_missing_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none of the files .* such as .*b\.png"):
        surveyed(question(None, Medium(tmp_path / "b.png")))


def test_a_task_without_questions_is_not_asked() -> None:
    with pytest.raises(CommandError, match="no question"):
        surveyed()


@pytest.mark.parametrize("broken", [question("\ud83d"), Question("1", (Turn("user", "\ude00"),))])
def test_half_a_character_is_named_before_anything_is_asked(broken: Question) -> None:
    with pytest.raises(CommandError, match=r"question '1' holds '\\u(d83d|de00)'"):
        surveyed(question("\U0001f600"), broken)


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    there = Medium(write_image(tmp_path / "\udcff.png"))
    assert surveyed(question(None, there)).missing == 0


def test_a_file_that_cannot_be_read_is_told_with_its_name(tmp_path: Path) -> None:
    def questions() -> Iterator[Question]:
        tmp_path.open()  # a folder
        yield question()

    with pytest.raises(CommandError, match=f"cannot read {tmp_path}: Is a directory"):
        Survey().take(questions())


def test_the_digest_is_of_all_questions_and_the_first_ones_are_asked(tmp_path: Path) -> None:
    shown = Medium(write_image(tmp_path / "a.png"))
    questions = [question("a"), question("b", shown)]
    limited, whole = Survey(), surveyed(*questions)
    limited.take(questions, limit=1)
    assert limited.digest == whole.digest != surveyed(questions[0]).digest
    assert (limited.questions, limited.files) == (1, 0)
    assert (whole.questions, whole.files) == (2, 1)
