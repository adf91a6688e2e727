"""What somebody types becomes a path, or an error with a reason."""

from pathlib import Path

import pytest

from llava_serve.local_path import local_path


def test_a_tilde_is_ones_home() -> None:
    assert local_path("~/a.png") == Path.home() / "a.png"
    assert local_path("a~b.png") == Path("a~b.png")


def test_the_name_of_an_unknown_user_stays_as_it_is() -> None:
    assert local_path("~nobody-of-this-name/a.png") == Path("~nobody-of-this-name/a.png")


def test_a_zero_byte_is_refused() -> None:
    with pytest.raises(OSError, match="zero byte"):
        local_path("~a\0b")
