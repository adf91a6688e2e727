"""Checkpoints to break: one with random weights, and the stored cases."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts import random_checkpoint
from tests.checkpoints.changed import set_json
from tests.checkpoints.golden_cases import GOLDEN

CopyCase = Callable[..., Path]


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


@pytest.fixture
def copied(tmp_path: Path) -> CopyCase:
    """Copy a stored case, with other settings; return its checkpoint's folder."""

    def copy(case: str, folder: str = "checkpoint", **settings: Any) -> Path:
        place = tmp_path / case
        shutil.copytree(next(GOLDEN.glob(f"{case}_*")), place)
        set_json(place / folder / "config.json", **settings)
        return place / folder

    return copy
