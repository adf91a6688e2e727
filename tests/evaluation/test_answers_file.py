"""What was answered is found again, whatever ended the process that wrote it."""

import resource
from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.answer_record import AnswerFailure, AnswerRecord
from llava_serve.evaluation.answers_file import AnswersFile


def record(index: int, text: str = "yes") -> AnswerRecord:
    return AnswerRecord(index=index, text=text, logprob=-0.25, tokens=1)


def failed(index: int) -> AnswerRecord:
    return AnswerRecord(index=index, failure=AnswerFailure(code="c", message="m"))


def test_answers_come_back_in_the_order_of_their_questions(tmp_path: Path) -> None:
    with AnswersFile(tmp_path / "a", 5) as answers:
        for index in (3, 0, 4):
            answers.append(record(index, f"\u2028{index}"))
        read = list(answers.in_order())
    assert read == [record(index, f"\u2028{index}") for index in (0, 3, 4)]


def test_answers_are_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    with AnswersFile(tmp_path / "a", 3) as answers:
        answers.append(record(1))
        answers.append(failed(2))
    with AnswersFile(tmp_path / "a", 3) as answers:
        assert [answers.state(index) for index in range(3)] == ["open", "answered", "failed"]
        assert answers.count("open") == 1
        assert list(answers.in_order()) == [record(1), failed(2)]


def test_a_later_answer_replaces_an_earlier_one(tmp_path: Path) -> None:
    with AnswersFile(tmp_path / "a", 2) as answers:
        answers.append(failed(0))
        answers.append(record(1))
        answers.append(record(0, "better"))
        assert answers.count("failed") == 0
    with AnswersFile(tmp_path / "a", 2) as answers:
        assert [one.text for one in answers.in_order()] == ["better", "yes"]


@pytest.mark.parametrize("left", [1, 5, -1])
def test_a_torn_last_line_is_cut_and_its_question_open(left: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with AnswersFile(path, 3) as answers:
        answers.append(record(0))
        whole = path.read_bytes()
        answers.append(record(1))
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:left])
    with AnswersFile(path, 3) as answers:
        assert path.read_bytes() == whole
        assert answers.state(1) == "open"
        answers.append(record(2))
        assert [one.index for one in answers.in_order()] == [0, 2]


@pytest.mark.parametrize("line", ["{}", "text", '{"index": 3, "text": ""}', '{"index": -1}'])
def test_a_line_that_is_no_answer_of_the_run_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with AnswersFile(path, 3) as answers:
        answers.append(record(0))
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(CommandError, match=r"line 2 of .* is no answer to one of the questions"):
        AnswersFile(path, 3)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot use .*: Is a directory"):
        AnswersFile(tmp_path, 3)


def test_what_a_full_disk_tore_is_cut_before_the_next_answer(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with AnswersFile(tmp_path / "a", 3) as answers:
        answers.append(record(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "a").stat().st_size + 10, hard))
        try:
            with pytest.raises(CommandError, match="File too large"):
                answers.append(record(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        answers.append(record(2))
    with AnswersFile(tmp_path / "a", 3) as answers:
        assert list(answers.in_order()) == [record(0), record(2)]
