"""A data set may name any file; only images and videos of a bounded size are read."""

import os
from pathlib import Path

import pytest

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.evaluation.image_changes import original
from llava_serve.evaluation.media_file import MOST_BYTES, is_there, read_media
from llava_serve.evaluation.question import Medium
from tests.evaluation.answering import write_image

UNNAMEABLE = ["x" * 300, "x/" * 3000, "a\0b.png", "a\ud800.png"]


def test_an_image_is_read_whole(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", (200, 200))
    assert read_media(path) == path.read_bytes()
    assert is_there(path)


@pytest.mark.parametrize("secret", ["root:x:0:0:root\n", "-----BEGIN KEY-----", "<html>", ""])
def test_a_file_that_is_no_image_is_never_shown(secret: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(secret)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret")
    for path in (tmp_path / "data" / ".." / "secret", tmp_path / "data" / "link.png"):
        with pytest.raises(MediaUnreadable, match="no image or video"):
            original([Medium(path)])


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(MediaUnreadable, match="a pipe or a device"):
            read_media(path)
    with pytest.raises(MediaUnreadable):
        read_media(tmp_path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png")
    os.truncate(path, MOST_BYTES + 1)
    with pytest.raises(MediaTooLarge):
        read_media(path)


@pytest.mark.parametrize("name", UNNAMEABLE)
def test_a_name_that_no_file_can_have_is_that_of_a_missing_one(name: str, tmp_path: Path) -> None:
    assert not is_there(tmp_path / name)
    with pytest.raises(MediaUnreadable):
        read_media(tmp_path / name)
