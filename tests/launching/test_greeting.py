"""What a launch says when it is ready."""

import json
import shlex
import subprocess
from pathlib import Path

from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.greeting import Example, first_example, greeting
from llava_serve.launching.plan import make_plan

TEXT_ONLY = Example("What's that?", None)


def test_it_names_the_page_the_api_and_the_first_model() -> None:
    plan = make_plan(LaunchConfig(web_port=41003, model=("a/x", "b/y")))
    text = greeting(plan, TEXT_ONLY)
    assert "http://127.0.0.1:41003" in text
    assert "http://127.0.0.1:10000/v1/chat/completions" in text
    assert "--model-name x" in text


def test_without_a_page_there_is_none_to_open() -> None:
    assert "browser" not in greeting(make_plan(LaunchConfig(no_web=True)), TEXT_ONLY)


def test_the_curl_line_gives_a_shell_the_right_body(tmp_path: Path) -> None:
    picture = tmp_path / "it's a picture.png"
    picture.write_bytes(b"PNG" * 100)
    plan = make_plan(LaunchConfig(model=('a/x=it\'s "x"',)))
    text = greeting(plan, Example("What's that?", picture))
    curl = next(line for line in text.splitlines() if line.startswith("  curl"))
    shown = subprocess.run(
        ["sh", "-c", f"set -- {curl}; eval 'printf %s \"${{7}}\"'"], capture_output=True, check=True
    )
    body = json.loads(shown.stdout)
    image, question = body["messages"][0]["content"]
    assert body["model"] == 'it\'s "x"'
    assert question["text"] == "What's that?"
    assert image["image_url"]["url"] == "data:image/png;base64," + "UE5H" * 100


def test_the_terminal_line_is_a_command_with_the_picture(tmp_path: Path) -> None:
    picture = tmp_path / "a picture.png"
    text = greeting(make_plan(LaunchConfig()), Example("What?", picture))
    words = shlex.split(text.splitlines()[-1])
    assert words[1:3] == ["-m", "llava_serve.cli"]
    assert words[-2:] == ["--image-file", str(picture)]


def test_the_example_is_the_first_of_one_still_picture(tmp_path: Path) -> None:
    rows = [
        {"question": "Two?", "files": ["a.png", "b.png"]},
        {"question": "Moving?", "files": ["c.mp4"]},
        {"question": "One?", "files": ["d.png"]},
    ]
    (tmp_path / "examples.json").write_text(json.dumps(rows))
    assert first_example(tmp_path) == Example("One?", tmp_path / "d.png")


def test_without_examples_the_question_needs_no_picture(tmp_path: Path) -> None:
    assert first_example(tmp_path).picture is None
