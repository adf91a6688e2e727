"""Questions of one's own are read from lines of messages, and from LLaVA's custom data."""

import json
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.question import Grade, Medium, Question, Turn
from llava_serve.evaluation.tasks.chat_lines import ChatLines
from tests.evaluation.answering import image_line, text_line, write_lines


def read(folder: Path, *lines: dict[str, Any]) -> list[Question]:
    task = ChatLines(write_lines(folder / "questions.jsonl", lines))
    questions = list(task.questions())
    assert list(task.questions()) == questions == list(ChatLines(folder).questions())
    return questions


def test_a_line_holds_turns_with_media_named_from_its_folder(tmp_path: Path) -> None:
    content = [
        {"type": "text", "text": "one"},
        {"type": "image", "image": "a/b.png"},
        {"type": "video", "video": "c.mp4"},
        {"type": "text", "text": "two"},
    ]
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": content},
    ]
    line = {"id": 7, "messages": messages, "answer": " yes ", "kind": "color", "max_tokens": 5}
    (question,) = read(tmp_path, line)
    media = (Medium(tmp_path / "a/b.png"), Medium(tmp_path / "c.mp4", "video"))
    assert question == Question(
        "7",
        (
            Turn("system", "s"),
            Turn("user", "u"),
            Turn("assistant", "a"),
            Turn("user", "one\ntwo", media),
        ),
        "color",
        ["yes"],
        {"question_id": 7},
        {"max_tokens": 5},
    )
    assert question.prompt == "one\ntwo"


def test_lines_of_llavas_custom_data_are_read(tmp_path: Path) -> None:
    one, two = read(
        tmp_path,
        {"question_id": 3, "image": "a.png", "text": "<image>\nWhat?", "category": "conv"},
        {"question_id": "x", "text": "No picture.", "answer": ["a", "b"], "more": 1},
    )
    assert one.turns == (Turn("user", "What?", (Medium(tmp_path / "a.png"),)),)
    assert (one.id, one.kind, one.truth) == ("3", "conv", None)
    assert one.metadata == {"question_id": 3, "prompt": "<image>\nWhat?"}
    assert (two.id, two.truth) == ("x", ["a", "b"])


def test_an_answer_is_right_that_is_one_of_the_right_ones(tmp_path: Path) -> None:
    task = ChatLines(tmp_path)
    one, several, none = read(
        tmp_path,
        text_line(1, answer="Yes", kind="a"),
        text_line(2, answer=["left", "west"], kind="b"),
        image_line(3),
    )
    tally = task.tally()
    assert tally.metrics() == {}
    grades = [
        (one, task.grade(one, "Yes")),
        (one, task.grade(one, "yes")),
        (several, task.grade(several, "west")),
        (none, task.grade(none, "what it may be")),
    ]
    for question, grade in grades:
        tally.add(question, grade)
    assert [grade.credit for _, grade in grades] == [1, 0, 1, None]
    assert grades[3][1] == Grade("what it may be", None)
    assert tally.metrics() == {"accuracy": 2 / 3, "a/accuracy": 0.5, "b/accuracy": 1}
    assert task.main_metric in tally.metrics()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "Invalid JSON"),
        ('{"id": 1}', "messages: Field required"),
        ('{"id": 1, "messages": []}', "messages"),
        ('{"id": 1, "messages": [{"role": "user", "content": [{"type": "audio"}]}]}', "content"),
        ('{"id": 1, "messages": [{"role": "user", "content": "a"}], "anwser": "b"}', "anwser"),
        ('{"question_id": 1}', "text: Field required"),
    ],
)
def test_a_line_that_is_no_question_is_named_with_the_reason(
    line: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(text_line(0)) + "\n\n" + line + "\n")
    with pytest.raises(CommandError, match=f"line 3 of .*q.jsonl is no question: .*{said}"):
        list(ChatLines(path).questions())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read .*questions\.jsonl"):
        list(ChatLines(tmp_path).questions())


def test_a_byte_order_mark_at_the_beginning_is_no_part_of_the_data(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "q.jsonl", [text_line(0)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [one.id for one in ChatLines(path).questions()] == ["q0"]
