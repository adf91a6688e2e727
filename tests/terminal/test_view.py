"""How answers are written."""

import io
import json

from llava_serve.errors import EngineFailure
from llava_serve.request import Usage
from llava_serve.terminal.answerer import Answer, Outcome
from llava_serve.terminal.view import AnswerView, JsonAnswers, PlainAnswers


def _answer(text: str, outcome: Outcome = "stop", error: EngineFailure | None = None) -> Answer:
    return Answer(
        question="What?",
        text=text,
        finish_reason=outcome,
        usage=Usage(7, 2, 4),
        model="tiny",
        error=error,
    )


def _write(view: AnswerView, answer: Answer) -> None:
    view.delta(answer.text)
    view.ended(answer)


def test_plain_answers_are_lines() -> None:
    out = io.StringIO()
    for answer in (_answer("red"), _answer("a\nb\n"), _answer(""), _answer("", "error")):
        _write(PlainAnswers(out), answer)
    assert out.getvalue() == "red\na\nb\n\n"


def test_plain_answers_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    _write(PlainAnswers(out), _answer("\x1b[2Jred"))
    assert out.getvalue() == "␛[2Jred\n"


def test_json_answers_are_one_object_a_line() -> None:
    out = io.StringIO()
    for answer in (_answer("a\nb"), _answer("c", "length")):
        _write(JsonAnswers(out), answer)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first == {
        "question": "What?",
        "answer": "a\nb",
        "finish_reason": "stop",
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "image_tokens": 4,
            "cached_tokens": 0,
        },
        "model": "tiny",
    }
    assert second["finish_reason"] == "length"


def test_a_failed_answer_is_an_object_too() -> None:
    out = io.StringIO()
    _write(JsonAnswers(out), _answer("half", "error", EngineFailure("it broke")))
    shown = json.loads(out.getvalue())
    assert shown["answer"] == "half"
    assert shown["error"]["message"] == "it broke"
    assert shown["error"]["code"] == "engine_failure"
