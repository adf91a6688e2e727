"""A recording is whole and of a known version, or an error says what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from llava_serve.errors import CommandError
from llava_serve.replaying.recording import (
    RecordedAnswer,
    RecordedRequest,
    RecordedToken,
    Recording,
)
from llava_serve.replaying.requests import built_in, read_requests

TOKEN = RecordedToken(token="\\xe2\u2028", logprob=-0.5, top={"a": -0.5, "b": -1.5})
ANSWER = RecordedAnswer(text="a", finish_reason="stop", tokens=[TOKEN], prompt_tokens=3)
RECORDING = Recording(
    model="m",
    recorded_at="2026-01-31T00:00:00+00:00",
    requests=[
        RecordedRequest(name=name, body={"messages": []}, answer=ANSWER) for name in ("a", "b")
    ],
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    RECORDING.write(tmp_path / "file")
    assert Recording.read(tmp_path / "file") == RECORDING


def change(line: int, **fields: Any) -> Any:
    def changed(lines: list[str]) -> list[str]:
        lines[line] = json.dumps(json.loads(lines[line]) | fields)
        return lines

    return changed


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda lines: [], "is no recording of version 1"),
        (lambda lines: ["{}", *lines[1:]], "is no recording of version 1: model: Field required"),
        (lambda lines: ["text"], "is no recording of version 1"),
        (change(0, version=2), "is no recording of version 1: version"),
        (change(0, format="other"), "is no recording of version 1: format"),
        (lambda lines: lines[:-1], "is cut: it has 1 of its 2 requests"),
        (lambda lines: [*lines[:-1], lines[-1][:50]], "line 3 of .* is no recorded request"),
        (change(2, answer={}), "line 3 of .* is no recorded request: answer.text"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(broken: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    RECORDING.write(path)
    path.write_text("\n".join(broken(path.read_text().split("\n")[:-1])))
    with pytest.raises(CommandError, match=said):
        Recording.read(path)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read .*: Is a directory"):
        Recording.read(tmp_path)
    with pytest.raises(CommandError, match=r"cannot write .*: Is a directory"):
        RECORDING.write(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(CommandError, match="no text in UTF-8"):
        Recording.read(tmp_path / "bytes")


def test_the_built_in_requests_are_the_same_each_time() -> None:
    assert built_in() == built_in()
    assert len(built_in()) > 8


def test_own_requests_keep_their_fields_and_lose_what_the_recorder_sets(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    body = {"model": "x", "stream": True, "messages": [], "max_tokens": 3}
    path.write_text(json.dumps(body) + "\n\n" + json.dumps({"messages": [], "seed": 1}))
    assert read_requests(path) == {
        "line 1": {"messages": [], "max_tokens": 3},
        "line 2": {"messages": [], "seed": 1},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no request"),
        ("{", "request 1 of .* no JSON"),
        ('{"messages": []}\n[]', "request 2 of .* no list of messages"),
        ('{"messages": [], "n": 2}', "several answers"),
    ],
)
def test_requests_that_cannot_be_recorded_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "requests").write_text(text)
    with pytest.raises(CommandError, match=said):
        read_requests(tmp_path / "requests")
