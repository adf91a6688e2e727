"""What a launch shows."""

import io
import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.console import LaunchConsole, SampleQuestion, first_sample, greeting
from llava_serve.launching.plan import make_plan


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


TEXT_ONLY = SampleQuestion("What's that?", None)


def test_it_names_the_page_the_api_and_the_first_model() -> None:
    plan = make_plan(LaunchConfig(web_port=41003, model=("a/x", "b/y")))
    text = greeting(plan, TEXT_ONLY)
    assert "http://127.0.0.1:41003" in text
    assert "http://127.0.0.1:10000/v1/chat/completions" in text
    assert "--model-name x" in text


def test_without_a_page_there_is_none_to_open() -> None:
    assert "browser" not in greeting(make_plan(LaunchConfig(no_web=True)), TEXT_ONLY)


def test_the_curl_line_gives_a_shell_the_right_body(tmp_path: Path) -> None:
    image_file = tmp_path / "it's a picture.png"
    image_file.write_bytes(b"PNG" * 100)
    plan = make_plan(LaunchConfig(model=('a/x=it\'s "x"',)))
    text = greeting(plan, SampleQuestion("What's that?", image_file))
    curl = next(line for line in text.splitlines() if line.startswith("  curl"))
    shown = subprocess.run(
        ["sh", "-c", f"set -- {curl}; eval 'printf %s \"${{7}}\"'"], capture_output=True, check=True
    )
    body = json.loads(shown.stdout)
    image, question = body["messages"][0]["content"]
    assert body["model"] == 'it\'s "x"'
    assert question["text"] == "What's that?"
    assert image["image_url"]["url"] == "data:image/png;base64," + "UE5H" * 100


def test_the_terminal_line_is_a_command_with_the_image(tmp_path: Path) -> None:
    image_file = tmp_path / "a picture.png"
    text = greeting(make_plan(LaunchConfig()), SampleQuestion("What?", image_file))
    words = shlex.split(text.splitlines()[-1])
    assert words[1:3] == ["-m", "llava_serve.cli"]
    assert words[-2:] == ["--image-file", str(image_file)]


def test_the_example_is_the_first_of_one_still_image(tmp_path: Path) -> None:
    rows = [
        {"question": "Two?", "files": ["a.png", "b.png"]},
        {"question": "Moving?", "files": ["c.mp4"]},
        {"question": "One?", "files": ["d.png"]},
    ]
    (tmp_path / "examples.json").write_text(json.dumps(rows))
    assert first_sample(tmp_path) == SampleQuestion("One?", tmp_path / "d.png")


def test_without_examples_the_question_needs_no_image(tmp_path: Path) -> None:
    assert first_sample(tmp_path).image is None


def test_with_a_file_of_authorities_the_commands_name_it(tmp_path: Path) -> None:
    text = greeting(make_plan(LaunchConfig()), TEXT_ONLY, tmp_path / "our ca.pem")
    curl, cli = (line for line in text.splitlines() if "our ca.pem" in line)
    assert shlex.split(curl)[2:4] == ["--cacert", str(tmp_path / "our ca.pem")]
    words = shlex.split(cli)
    assert words[words.index("--ca-file") + 1] == str(tmp_path / "our ca.pem")


def test_with_a_key_the_commands_show_it_without_having_it(tmp_path: Path) -> None:
    key_file = tmp_path / "our key"
    key_file.write_text("sk-llava-1-2\n")
    text = greeting(make_plan(LaunchConfig()), TEXT_ONLY, key_file=key_file)
    assert "sk-llava-1-2" not in text
    curl, cli = (line for line in text.splitlines() if "our key" in line)
    shown = subprocess.run(
        ["sh", "-c", f'set -- {curl}; printf %s "$5"'], capture_output=True, check=True
    )
    assert shown.stdout == b"Authorization: Bearer sk-llava-1-2"
    words = shlex.split(cli)
    assert words[words.index("--api-key-file") + 1] == str(key_file)
