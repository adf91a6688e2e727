"""What a launch shows."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from llava_serve.launching.console import LaunchConsole


def _shown(text: str, on_terminal: bool = False) -> str:
    out = io.StringIO()
    rich = Console(file=out, width=40, force_terminal=on_terminal)
    console = LaunchConsole(["controller", "tiny"], rich)
    console.line("tiny", text)
    return out.getvalue()


def test_a_line_stands_behind_the_name_of_its_process() -> None:
    assert _shown("hello") == "tiny       | hello\n"


def test_a_long_line_is_neither_cut_nor_wrapped() -> None:
    text = "word " * 100 + "end"
    assert _shown(text) == f"tiny       | {text}\n"


def test_a_line_is_no_markup() -> None:
    assert _shown("[bold]x[/bold] [12:00] :smile:") == (
        "tiny       | [bold]x[/bold] [12:00] :smile:\n"
    )


def test_a_reader_that_leaves_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as log:  # whose end writes what is left
        console = LaunchConsole(["tiny"], Console(file=log))
        console.line("tiny", "hello")
        console.note("on we go")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_on_a_full_disk_the_next_line_is_tried_again(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as log:
        console = LaunchConsole(["tiny"], Console(file=log))
        console.line("tiny", "hello")
        with (tmp_path / "log").open("w") as emptied:
            os.dup2(emptied.fileno(), log.fileno())
        console.note("on we go")
    assert (tmp_path / "log").read_text().endswith("launch | on we go\n")


def test_the_name_is_coloured_on_a_terminal() -> None:
    assert "\x1b[" in _shown("hello", on_terminal=True)
