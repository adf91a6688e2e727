"""A fingerprint tells which engines answer alike, whatever their folders are called."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import ModelConfig
from llava_serve.engines.torch.fingerprint import fingerprint_of
from llava_serve.tiny import CHECKPOINT


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load(ModelConfig(device="cpu"))


def test_the_same_files_elsewhere_are_the_same_model(bundled: LoadedModel, tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINT, tmp_path / "copied")
    config = ModelConfig(model_path=str(tmp_path / "copied"), model_name="other", device="cpu")
    assert fingerprint_of(load(config)) == fingerprint_of(bundled)


def with_one_weight_changed(loaded: LoadedModel) -> LoadedModel:
    changed = load(ModelConfig(device="cpu"))
    with torch.no_grad():
        for weight in changed.model.lm_head.parameters():
            weight.mul_(1.001)
    return changed


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_one_weight_changed, id="weights"),
        pytest.param(lambda _: load(ModelConfig(device="cpu", dtype="bfloat16")), id="precision"),
        pytest.param(lambda _: load(ModelConfig(device="cpu"), "plain"), id="template"),
        pytest.param(lambda one: replace(one, stop_ids=frozenset({1})), id="end of an answer"),
    ],
)
def test_what_changes_an_answer_changes_the_fingerprint(
    bundled: LoadedModel, change: Callable[[LoadedModel], Any]
) -> None:
    assert fingerprint_of(change(bundled)) != fingerprint_of(bundled)
