"""Lines of LLaVA's question files are read one at a time, and a wrong one is named."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.question_line import question_lines


def test_a_line_becomes_a_question_with_its_own_id(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question_id": 7, "image": "a.jpg", "text": "Is it?", "category": "c"}\n\n')
    (line,) = question_lines(path)
    question = line.asked(tmp_path / "a.jpg", kind="k", truth="yes", metadata={"more": 1})
    assert (question.id, question.prompt, question.kind) == ("7", "Is it?", "k")
    assert question.metadata == {"question_id": 7, "image": "a.jpg", "more": 1}
    assert question.turns[0].media[0].source == tmp_path / "a.jpg"


@pytest.mark.parametrize(
    "second",
    [
        b"{",
        b"[]",
        b"3",
        b'"\xe9"',
        b'{"question_id": 1, "image": 2, "text": ""}',
        b'{"image": "", "text": ""}',
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, second: bytes) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'{"question_id": 7, "image": "a.jpg", "text": "Is it?"}\n' + second)
    lines = question_lines(path)
    assert next(lines).id == 7
    with pytest.raises(CommandError, match=r"line 2 of .*q\.jsonl|q\.jsonl, line 2 is no question"):
        next(lines)
