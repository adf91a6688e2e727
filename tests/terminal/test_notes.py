"""What is said beside the answers."""

import io

from rich.console import Console

from llava_serve.errors import CommandError, RemoteError, ServeError
from llava_serve.terminal.notes import Notes


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


def test_what_another_process_says_is_neither_markup_nor_control() -> None:
    shown = _shown(RemoteError("[red]\x1b[2Jgone[/red]", "x", 500, "[link]"), debug=False)
    assert shown == "error: [red]␛[2Jgone[/red]\n       [link]\n"
