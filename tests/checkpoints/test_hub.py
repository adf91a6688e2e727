from pathlib import Path

import pytest

from llava_serve.checkpoints.hub import folder_of, is_hub_name, name_of
from llava_serve.errors import CheckpointError


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert folder_of(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "path", ["/nowhere/at/all", "./nowhere", "nowhere", "a/b/c", "~nobody-of-this-name/x"]
)
def test_a_folder_that_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(CheckpointError, match=f"there is no folder {path}. Correct the path"):
        folder_of(path)


def test_a_path_that_cannot_be_looked_at_is_refused_with_the_reason() -> None:
    with pytest.raises(CheckpointError, match=r"cannot look at a+: File name too long"):
        folder_of("a" * 300)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match="is a file; give the folder"):
        folder_of(str(tmp_path / "model.safetensors"))


def test_a_hub_name_out_of_reach_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="the hub cannot be reached from here"):
        folder_of("llava-hf/llava-none-such")


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
