from pathlib import Path

import pytest

from llava_serve.checkpoints.naming import is_hub_name, name_of


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/llava-7b/", "llava-7b"),
        ("llava-hf/llava-1.5-7b-hf", "llava-1.5-7b-hf"),
        ("runs/llava-7b/checkpoint-500", "llava-7b_checkpoint-500"),
        ("checkpoint-500", "checkpoint-500"),
    ],
)
def test_the_name_comes_from_the_path(path: str, name: str) -> None:
    assert name_of(path) == name


def test_the_folder_one_stands_in_has_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "llava-7b" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert (name_of("."), name_of("..")) == ("inside", "llava-7b")


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("llava-hf/llava-1.5-7b-hf", True),
        ("llava-tiny", False),
        ("./llava-7b", False),
        ("~/llava-7b", False),
        ("/llava-7b", False),
        ("a/b/c", False),
    ],
)
def test_a_hub_name_has_an_owner(path: str, is_one: bool) -> None:
    assert is_hub_name(path) is is_one
