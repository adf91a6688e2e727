"""A small checkpoint with random weights, and copies of it to break."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import random_checkpoint


@pytest.fixture(scope="session")
def onevision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-onevision"
    random_checkpoint.write(
        "llava_onevision", folder, shape=random_checkpoint.Shape(hidden_size=64)
    )
    return folder


@pytest.fixture
def copy(onevision: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a copy of the checkpoint without the files named."""

    def without(*names: str) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(onevision, folder)
        for name in names:
            (folder / name).unlink()
        return folder

    return without
