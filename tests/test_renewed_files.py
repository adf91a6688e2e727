"""Files are read again when they change, and only then."""

from pathlib import Path

import pytest

from llava_serve.errors import CommandError
from llava_serve.renewed_files import RenewedFiles


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    file, reads = tmp_path / "file", []

    def read() -> str:
        reads.append(file.read_text())
        return reads[-1]

    file.write_text("one")
    files = RenewedFiles(read, file)
    assert [files.content(), files.content()] == ["one", "one"]
    file.write_text("three")
    assert [files.content(), files.content()] == ["three", "three"]
    assert reads == ["one", "three"]


def test_a_change_that_cannot_be_used_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("good")

    def read() -> str:
        if (text := file.read_text()) != "good":
            raise CommandError(f"{text} is wrong", "Correct it.")
        return text

    files = RenewedFiles(read, file)
    file.write_text("something")
    assert [files.content(), files.content()] == ["good", "good"]
    assert caplog.text.count("something is wrong. Correct it.") == 1
