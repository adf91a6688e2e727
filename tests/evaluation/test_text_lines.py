"""Lines of the user's files keep their numbers, and what cannot be read is named."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.text_lines import numbered_lines


def test_blank_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\xef\xbb\xbffirst\r\n \n\nlast\xe2\x80\xa8too")
    assert [(number, line.strip()) for number, line in numbered_lines(path)] == [
        (1, "first"),
        (4, "last\u2028too"),
    ]


def test_a_line_of_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"one\nna\xefve\n")
    lines = numbered_lines(path, "--questions")
    assert next(lines) == (1, "one\n")
    with pytest.raises(CommandError, match=r"line 2 of .*q\.jsonl is no text") as refused:
        next(lines)
    assert "--questions" in refused.value.remedy


def test_a_file_without_line_breaks_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CommandError, match=r"line 1 of .* is longer than 64 MiB"):
        next(numbered_lines(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read .*: Is a directory"):
        next(numbered_lines(tmp_path))
