"""A training that was killed goes on as if it had not been; what ends one says what to do."""

import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_serve.checkpoints.weights import open_folder
from tests.training.teaching import bundled, learn, losses, write_lesson

pytestmark = pytest.mark.slow

FLAGS = shlex.split(
    "--num_train_epochs 5 --per_device_train_batch_size 1 --gradient_accumulation_steps 2 "
    "--learning_rate 1e-3 --warmup_ratio 0.1 --lr_scheduler_type cosine --logging_steps 1 "
    "--save_strategy steps --save_steps 3 --save_total_limit 1 --report_to none"
)
GROUPED = ["--group_by_modality_length", "True"]
LORA = shlex.split("--lora_enable True --lora_r 8 --lora_dropout 0.1")


def killed_at(step: int, words: list[Any]) -> None:
    """Run the command in a process of its own, and kill that behind a step."""
    program = [sys.executable, "-m", "llava_serve.train", *map(str, words), "--use_cpu", "True"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if f"step {step} of" in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.stderr.read()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("more", [[], GROUPED, [*GROUPED, *LORA]], ids=["drawn", "grouped", "lora"])
def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path, more: list[str]) -> None:
    """Its batches, losses and weights are those of one that nobody disturbed, to the last bit."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    data = [*write_lesson(tmp_path), *FLAGS, *more]
    assert learn(*bundled(whole), *data) == 0
    killed_at(5, [*bundled(killed), *data])
    assert [path.name for path in killed.glob("checkpoint-*")] == ["checkpoint-3"]
    (killed / "checkpoint-4").mkdir()  # as if it had been killed while writing
    assert learn(*bundled(killed), *data) == 0
    assert len(losses(whole)) == 10
    assert losses(killed) == losses(whole)
    one, two = open_folder(whole), open_folder(killed)
    assert all(torch.equal(one[name].read(), two[name].read()) for name in one)


@pytest.fixture
def begun(tmp_path: Path) -> list[str]:
    """Train three steps of ten; return the command."""
    words = [*bundled(tmp_path / "out"), *write_lesson(tmp_path), *FLAGS]
    assert learn(*words, "--max_steps", 3) == 0
    return words


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_broken_checkpoint_is_named(
    tmp_path: Path, begun: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "checkpoint-3" / name
    path.write_bytes(path.read_bytes()[:100])
    assert learn(*begun) == 2
    said = capsys.readouterr().err
    assert f"the checkpoint {path.parent} cannot be read" in said
    assert f"Remove {path.parent}" in said
    shutil.rmtree(path.parent)
    assert learn(*begun) == 0


def test_a_training_of_other_parts_does_not_go_on(
    tmp_path: Path, begun: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert learn("pretrain", *begun) == 2
    assert "is of a training of other parts of the model" in capsys.readouterr().err


def test_other_data_does_not_go_on(
    tmp_path: Path, begun: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert learn(*begun, "--data_path", tmp_path / "other.json") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'out'} holds a training with --data_path" in said
    assert "Give another --output_dir" in said


def test_a_training_that_is_done_trains_nothing_more(
    tmp_path: Path, begun: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "out" / "model.safetensors"
    before = weights.read_bytes()
    assert learn(*begun, "--max_steps", 3) == 0
    assert weights.read_bytes() == before
    assert "is of the last step: nothing is left to train" in capsys.readouterr().err


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_leaves_no_half_checkpoint(
    tmp_path: Path, begun: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with files_of_at_most(1_000_000):
        assert learn(*begun) == 2
    said = capfd.readouterr().err
    assert f"{tmp_path / 'out' / 'checkpoint-6'} cannot be written" in said
    assert "Make room" in said
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-3"]
    assert learn(*begun) == 0


def test_a_loss_that_is_no_number_ends_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*bundled(tmp_path / "out"), *write_lesson(tmp_path), *FLAGS]
    assert learn(*words, "--learning_rate", "1e30", "--max_grad_norm", "0") == 2
    said = capsys.readouterr().err
    assert "the loss of step" in said
    assert "is nan" in said
    assert "Lower --learning_rate" in said
