"""A model's text can do nothing to a terminal."""

import pytest

from llava_serve.terminal.text import visible


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\x1b]8;;http://evil\x1b\\link",
        "back\b\b\b\bover",
        "a\rb",
        "\x9b31m",
        "\x00\x7f",
    ],
)
def test_no_control_character_is_left(text: str) -> None:
    shown = visible(text)
    assert not [char for char in shown if ord(char) < 32 or 0x7F <= ord(char) < 0xA0]
    assert len(shown) == len(text)


def test_an_escape_sequence_becomes_readable() -> None:
    assert visible("\x1b[31mred") == "␛[31mred"


def test_text_lines_and_tabs_stay() -> None:
    text = "Grüße, 世界 🙂\n\t[bold]no markup[/bold]"
    assert visible(text) == text
