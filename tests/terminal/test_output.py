"""What is written to the terminal."""

import io
import json

from rich.console import Console

from llava_serve.errors import CommandError, EngineFailure, RemoteError, ServeError
from llava_serve.request import Usage
from llava_serve.terminal.history import Outcome, TurnResult
from llava_serve.terminal.output import AnswerWriter, JsonWriter, Notes, PlainWriter


def _answer(text: str, outcome: Outcome = "stop", error: EngineFailure | None = None) -> TurnResult:
    return TurnResult(
        question="What?",
        text=text,
        finish_reason=outcome,
        usage=Usage(7, 2, 4),
        model="tiny",
        error=error,
    )


def _write(writer: AnswerWriter, result: TurnResult) -> None:
    writer.delta(result.text)
    writer.finish(result)


def test_plain_answers_are_lines() -> None:
    out = io.StringIO()
    for answer in (_answer("red"), _answer("a\nb\n"), _answer(""), _answer("", "error")):
        _write(PlainWriter(out), answer)
    assert out.getvalue() == "red\na\nb\n\n"


def test_plain_answers_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    _write(PlainWriter(out), _answer("\x1b[2Jred"))
    assert out.getvalue() == "␛[2Jred\n"


def test_json_answers_are_one_object_a_line() -> None:
    out = io.StringIO()
    for answer in (_answer("a\nb"), _answer("c", "length")):
        _write(JsonWriter(out), answer)
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
    _write(JsonWriter(out), _answer("half", "error", EngineFailure("it broke")))
    shown = json.loads(out.getvalue())
    assert shown["answer"] == "half"
    assert shown["error"]["message"] == "it broke"
    assert shown["error"]["code"] == "engine_failure"


def _shown(error: ServeError, debug: bool) -> str:
    err = io.StringIO()
    notes = Notes(Console(file=err, width=30), debug)
    try:
        raise error
    except ServeError as exc:
        notes.failed(exc)
    return err.getvalue()


def test_an_error_is_what_happened_and_what_to_do() -> None:
    shown = _shown(CommandError("cannot read the file a.png: no such file", "Give a file."), False)
    assert shown == "error: cannot read the file a.png: no such file\n       Give a file.\n"


def test_a_traceback_is_shown_only_with_debug() -> None:
    error = CommandError("it is wrong", "Make it right.")
    assert "Traceback" not in _shown(error, debug=False)
    assert "Traceback" in _shown(error, debug=True)


def test_a_passing_note_leaves_nothing_behind() -> None:
    err = io.StringIO()
    notes = Notes(Console(file=err, width=80, force_terminal=True, color_system=None))
    notes.pass_by("")
    notes.pass_by("waiting in line: 1 is before you")
    notes.pass_by("waiting in line: you are next")
    notes.pass_by("")
    *_, last = err.getvalue().split("\r\x1b[2K")
    assert "1 is before you" in err.getvalue() and "you are next" in err.getvalue()
    assert last == ""


def test_a_passing_note_is_for_a_terminal_only() -> None:
    err = io.StringIO()
    Notes(Console(file=err, width=80)).pass_by("waiting in line: you are next")
    assert err.getvalue() == ""


def test_what_another_process_says_is_neither_markup_nor_control() -> None:
    shown = _shown(RemoteError("[red]\x1b[2Jgone[/red]", "x", 500, "[link]"), debug=False)
    assert shown == "error: [red]␛[2Jgone[/red]\n       [link]\n"
