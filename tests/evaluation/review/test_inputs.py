"""Faults of the files are told with file and line before anything is asked."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.review.inputs import (
    model_name,
    read_answers,
    read_context,
    read_questions,
)
from llava_serve.evaluation.review.review_set import read_review_set
from tests.evaluation.review.conftest import config_of, flags_of
from tests.evaluation.review.recorded_judge import DATA


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "holds no question", id="an empty file"),
        pytest.param('{"question_id": 1, "text": "?"}\n', "line 1 of .*category", id="a field"),
        pytest.param("\n{]\n", "line 2 of .*JSON", id="no JSON"),
        pytest.param(
            '{"question_id": 1, "text": "?", "category": "c"}\n' * 2,
            "lines 1 and 2 of .* have one question_id, 1",
            id="a question that stands there twice",
        ),
    ],
)
def test_a_faulty_question_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        read_questions(written(tmp_path, text))


def test_an_answer_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    lines = '{"question_id": "7", "text": "a"}\n{"question_id": 7, "text": "b"}\n'
    with pytest.raises(CommandError, match="lines 1 and 2"):
        read_answers(written(tmp_path, lines))


def test_context_without_captions_or_twice_of_one_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"line 1 of .* has neither caption nor captions"):
        read_context(written(tmp_path, '{"image": "1.jpg"}\n'))
    with pytest.raises(CommandError, match=r"line 2 of .* the second one about the image '1\.jpg'"):
        read_context(written(tmp_path, '{"image": "1.jpg", "caption": "A cat."}\n' * 2))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        read_answers(tmp_path / "none.jsonl")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match="UTF-8"):
        read_answers(tmp_path / "bytes")


def test_a_line_separator_of_unicode_does_not_end_a_line(tmp_path: Path) -> None:
    answers = read_answers(written(tmp_path, '{"question_id": 1, "text": "a\u2028b"}\n'))
    assert answers["1"].text == "a\u2028b"


def test_a_model_is_called_as_its_answers_say_or_as_their_file() -> None:
    assert model_name(DATA / "llava-7b.jsonl", read_answers(DATA / "llava-7b.jsonl")) == "llava-7b"
    reference = read_answers(DATA / "reference.jsonl")
    assert model_name(Path("gpt-4.jsonl"), reference) == "gpt-4"


def test_answers_to_no_question_of_the_file_are_refused_whole(tmp_path: Path) -> None:
    other = written(tmp_path, '{"question_id": "x", "text": "a"}\n')
    with pytest.raises(CommandError, match="answers none of the 12 questions"):
        read_review_set(
            config_of(flags_of(tmp_path, "http://j"), (DATA / "reference.jsonl", other))
        )


def test_two_files_of_one_model_are_named_apart(tmp_path: Path) -> None:
    twice = (DATA / "llava-7b.jsonl",) * 2
    reviews = read_review_set(config_of(flags_of(tmp_path, "http://j"), twice))
    assert reviews.models == ("llava-7b (A)", "llava-7b (B)")


def test_a_judge_that_would_know_nothing_of_the_images_is_not_asked(tmp_path: Path) -> None:
    flags = flags_of(tmp_path, "http://j")
    del flags["--context"]
    with pytest.raises(CommandError, match="about an image") as refused:
        read_review_set(config_of(flags))
    assert "--show-images" in refused.value.remedy
