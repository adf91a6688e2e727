"""A judge has a name: without one its votes would be taken for those of people."""

from pathlib import Path

import pytest

from llava_serve.judging.config import JudgeConfig


@pytest.mark.parametrize("model", ["", "  ", "x" * 256])
def test_a_judge_without_a_name_that_can_be_kept_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--model takes a name of 1 to 255 characters"):
        JudgeConfig(model=model, state_dir=tmp_path)


def test_the_longest_name_is_taken(tmp_path: Path) -> None:
    assert len(JudgeConfig(model="x" * 255, state_dir=tmp_path).model) == 255
