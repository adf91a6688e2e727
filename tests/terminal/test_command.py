"""How a command line is read."""

import pytest

from llava_serve.errors import CommandError
from llava_serve.terminal.command import COMMANDS, is_command, parse


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/image a.png", ("/image", "a.png")),
        ("/image  my picture.png ", ("/image", "my picture.png")),
        ("/image 'my picture.png'", ("/image", "my picture.png")),
        ("/image my\\ picture.png", ("/image", "my picture.png")),
        ("/image it's.png", ("/image", "it's.png")),
        (
            "/image https://example.org/a.png?b=c",
            ("/image", "https://example.org/a.png?b=c"),
        ),
        ("/system Answer in 'one' word.", ("/system", "Answer in 'one' word.")),
        ("/system", ("/system", "")),
        ("/exit\n", ("/exit", "")),
    ],
)
def test_a_line_is_a_name_and_what_it_takes(line: str, command: tuple[str, str]) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/imgae a.png", "no command /imgae"),
        ("/", "no command /"),
        ("/image", "needs a file"),
        ("/image ''", "needs a file"),
        ("/reset now", "takes nothing"),
    ],
)
def test_a_wrong_line_is_refused_with_what_to_write(line: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason) as refused:
        parse(line)
    assert "/" in refused.value.remedy or "Write" in refused.value.remedy


def test_a_blank_makes_a_question_of_a_slash() -> None:
    assert is_command("/help")
    assert not is_command(" /etc/passwd in the picture, is it readable?")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    assert COMMANDS[name][1]
