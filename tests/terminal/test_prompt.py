"""What the tabulator key completes; the rest of the prompt is tested in a real terminal."""

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from llava_serve.terminal.command import COMMANDS
from llava_serve.terminal.prompt import CommandCompleter


def _completed(text: str) -> list[str]:
    found = CommandCompleter().get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + one.start_position] + one.text for one in found]


def test_commands_complete_from_the_slash() -> None:
    assert _completed("/") == list(COMMANDS)
    assert _completed("/s") == ["/system", "/save"]


def test_files_complete_behind_a_command_that_takes_one(tmp_path: Path) -> None:
    (tmp_path / "circle.png").touch()
    for name in ("/image", "/video", "/save", "/load"):
        assert _completed(f"{name} {tmp_path}/ci") == [f"{name} {tmp_path}/circle.png"]


@pytest.mark.parametrize("text", ["", "What", "/system /", "/reset /", "/again /", " /s"])
def test_nothing_else_completes(text: str) -> None:
    assert _completed(text) == []
