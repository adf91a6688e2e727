"""What somebody types becomes a path, or an error with a reason."""

import os
from pathlib import Path

import pytest

from llava_serve.local_path import local_path


def test_a_tilde_is_ones_home() -> None:
    assert local_path("~/a.png") == Path.home() / "a.png"
    assert local_path("a~b.png") == Path("a~b.png")


def test_the_name_of_an_unknown_user_stays_as_it_is() -> None:
    assert local_path("~nobody-of-this-name/a.png") == Path("~nobody-of-this-name/a.png")


def test_a_name_that_is_no_text_is_a_name_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xfcn.png")
    (tmp_path / name).write_bytes(b"x")
    assert local_path(str(tmp_path / name)).read_bytes() == b"x"


def test_half_a_character_is_refused() -> None:
    with pytest.raises(OSError, match="half character"):
        local_path("a\ud800.png")


def test_a_zero_byte_is_refused() -> None:
    with pytest.raises(OSError, match="zero byte"):
        local_path("~a\0b")
