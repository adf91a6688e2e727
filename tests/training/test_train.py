"""What is trained is what is served: folders of each kind of training load, and know the lesson."""

import shlex
from pathlib import Path

import pytest
import torch

from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.weights import Weights, open_file, open_folder
from llava_serve.config import ModelConfig
from llava_serve.media.limits import FileLimits
from llava_serve.tiny import CHECKPOINT
from llava_serve.training.collator import BatchCollator
from llava_serve.training.dataset import TrainingDataset
from llava_serve.training.embedding import embedded
from llava_serve.training.labels import AnswerLabeller
from llava_serve.training.media_files import MediaFiles
from llava_serve.training.mixture import open_mixture
from tests.checkpoints.golden_cases import GOLDEN
from tests.training.teaching import (
    BASE,
    PARTS,
    PUBLISHED,
    TAUGHT,
    answers,
    bundled,
    composed,
    learn,
    losses,
    write_lesson,
)

pytestmark = pytest.mark.slow

LONG = shlex.split("--max_steps 40 --per_device_train_batch_size 4 --learning_rate 1e-3")


def changed(before: Weights, after: Weights) -> set[str]:
    assert set(before) == set(after)
    return {name for name in before if not torch.equal(before[name].read(), after[name].read())}


async def test_a_finetuned_model_is_served_at_once_and_knows_the_lesson(tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = write_lesson(tmp_path)
    assert learn("finetune", *bundled(out), *data, *LONG, *PUBLISHED[6:], "--save_steps", 999) == 0
    told = losses(out)
    assert told[-1] < 0.1 < 2 < told[0]
    assert await answers(out) == list(TAUGHT.values())
    moved = changed(open_folder(CHECKPOINT), open_folder(out))
    assert not any("vision_tower" in name for name in moved)
    assert any("multi_modal_projector" in name for name in moved)
    assert any("embed_tokens" in name for name in moved)
    assert await answers(out / "checkpoint-40") == list(TAUGHT.values())


async def test_the_tower_learns_where_it_is_asked_to(tmp_path: Path) -> None:
    data = write_lesson(tmp_path)
    short = shlex.split("--max_steps 2 --learning_rate 1e-3 --unfreeze_mm_vision_tower True")
    slow = shlex.split("--mm_vision_tower_lr 2e-6 --mm_projector_lr 2e-5 --report_to none")
    assert learn("finetune", *bundled(tmp_path / "out"), *data, *short, *slow) == 0
    before, after = open_folder(CHECKPOINT), open_folder(tmp_path / "out")
    name = next(name for name in before if "vision_tower" in name and "mlp.fc1.weight" in name)
    steps = (after[name].read() - before[name].read()).abs().max()
    assert 0 < float(steps) < 1e-5


def loss_of(folder: Path, model: Path, base: Path | None = None) -> float:
    """Return the loss that a model has on the lesson as it is served."""
    loaded = load(
        ModelConfig(
            model_path=str(model), model_base=str(base) if base else None, device="cpu",
            dtype="float32",
        ),
        "vicuna_v1" if model.parent != PARTS and "plain" not in model.name else None,
    )  # fmt: skip
    media = MediaFiles(folder, folder, FileLimits(10**7, 10**7), num_frames=2)
    mixture = open_mixture(str(folder / "lesson.json"))
    data = TrainingDataset(loaded, mixture, media, AnswerLabeller(loaded), ())
    batch = BatchCollator(loaded)([data[i] for i in range(2)])
    with torch.inference_mode():
        inputs = embedded(loaded, batch) if loaded.original is not None else batch
        return float(loaded.model(**inputs).loss)


def test_a_pretrained_projector_is_one_of_llava_s_and_is_finetuned_with_its_language_model(
    tmp_path: Path,
) -> None:
    projector, whole = tmp_path / "plain", tmp_path / "whole"
    data = write_lesson(tmp_path, with_texts=False)
    version = shlex.split("--version plain --tune_mm_mlp_adapter True --bf16 True")
    assert learn(*composed(projector), *data, *LONG, *PUBLISHED, *version) == 0
    told = losses(projector)
    assert told[-1] < told[0]
    held = open_file(projector / "mm_projector.bin")
    stored = open_file(PARTS / "llava-v1.5-tiny-pretrain" / "mm_projector.bin")
    assert {name: one.shape for name, one in held.items()} == {
        name: one.shape for name, one in stored.items()
    }
    load(ModelConfig(model_path=str(projector), model_base=str(BASE), device="cpu"))

    begin = ["--pretrain_mm_mlp_adapter", projector / "mm_projector.bin", "--version", "v1"]
    grouped = shlex.split("--group_by_modality_length True --bf16 True")
    assert learn(*composed(whole), *data, *LONG, *PUBLISHED, *begin, *grouped) == 0
    told = losses(whole)
    assert told[-1] < told[0] / 2
    assert loss_of(tmp_path, whole) == pytest.approx(told[-1], abs=0.3)


def test_a_lora_is_one_of_llava_s_and_loads_upon_its_base(tmp_path: Path) -> None:
    out = tmp_path / "lora"
    data = write_lesson(tmp_path, with_texts=False)
    lora = shlex.split(
        "--lora_enable True --lora_r 8 --lora_alpha 16 --version v1 --lora_dropout 0"
    )
    assert learn(*composed(out), *data, *LONG, *PUBLISHED, *lora, "--mm_projector_lr", 1e-3) == 0
    told = losses(out)
    assert told[-1] < told[0] - 1
    assert loss_of(tmp_path, out, BASE) == pytest.approx(told[-1], abs=0.3)
    assert set(open_file(out / "non_lora_trainables.bin")) == {
        f"base_model.model.model.mm_projector.{name}"
        for name in ("0.weight", "0.bias", "2.weight", "2.bias")
    }


async def test_a_lora_upon_hugging_face_s_layout_knows_the_lesson(tmp_path: Path) -> None:
    out = tmp_path / "lora"
    data = write_lesson(tmp_path)
    lora = shlex.split(
        "--lora_r 32 --lora_alpha 64 --lora_dropout 0 --learning_rate 4e-3 --max_steps 70"
    )
    assert learn("lora", *bundled(out), *data, *LONG, *PUBLISHED[6:], *lora) == 0
    assert losses(out)[-1] < 0.5
    assert {path.name for path in out.glob("adapter_*")} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert await answers(out, CHECKPOINT) == list(TAUGHT.values())


async def test_pretraining_upon_hugging_face_s_layout_writes_a_model_and_its_projector(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    data = write_lesson(tmp_path, with_texts=False)
    short = shlex.split("--max_steps 2 --learning_rate 1e-3")
    assert learn("pretrain", *bundled(out), *data, *short) == 0
    moved = changed(open_folder(CHECKPOINT), open_folder(out))
    assert {name.split(".linear")[0] for name in moved} <= {
        "image_newline",
        "multi_modal_projector",
        "model.image_newline",
        "model.multi_modal_projector",
    }
    assert len(open_file(out / "mm_projector.bin")) == 5
    load(ModelConfig(model_path=str(out), device="cpu"))


@pytest.mark.parametrize("bits", [4, 8])
def test_a_lora_is_trained_upon_quantised_weights(tmp_path: Path, bits: int) -> None:
    out = tmp_path / "lora"
    short = shlex.split("--max_steps 4 --learning_rate 3e-3 --per_device_train_batch_size 4")
    words = [*bundled(out), *write_lesson(tmp_path), *short, "--bits", bits, "--logging_steps", 1]
    assert learn("lora", *words) == 0
    told = losses(out)
    assert told[-1] < told[0] - 1
    load(ModelConfig(model_path=str(out), model_base=str(CHECKPOINT), device="cpu"))


def test_broken_samples_end_it_before_the_first_step_or_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    data = write_lesson(tmp_path)
    (tmp_path / "teal.png").write_bytes(b"no picture")
    words = [*bundled(out), *data, "--max_steps", 1]
    assert learn("finetune", *words) == 2
    said = capsys.readouterr().err
    assert "1 of 4 samples cannot be trained on" in said
    assert "lesson.json, entry 1" in said
    assert learn("finetune", *words, "--skip-broken", "True") == 0
    assert "3 samples of at most" in capsys.readouterr().err


@pytest.mark.parametrize("case", ["A", "B"])
@pytest.mark.parametrize("mode", ["lora", "finetune"])
def test_a_whole_model_of_llava_s_layout_learns_as_those_of_its_task_scripts(
    tmp_path: Path, case: str, mode: str
) -> None:
    out, start = tmp_path / "out", next(GOLDEN.glob(f"{case}_*")) / "checkpoint"
    short = shlex.split("--max_steps 5 --learning_rate 1e-3 --per_device_train_batch_size 4")
    model = ["--model_name_or_path", start, "--output_dir", out, "--mm_vision_select_layer", -2]
    data = write_lesson(tmp_path)
    assert learn(mode, *model, *data, *short, "--lora_dropout", 0, "--logging_steps", 1) == 0
    told = losses(out)
    assert told[-1] < told[0]
    base = str(start) if mode == "lora" else None
    loaded = load(ModelConfig(model_path=str(out), model_base=base, device="cpu"))
    assert (loaded.original is None) == (mode == "finetune")


def test_the_command_that_serves_it_names_the_template_it_was_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [*composed(out), *write_lesson(tmp_path), "--max_steps", 1, "--lora_enable", "True"]
    assert learn(*words, "--version", "llava_llama_2") == 0
    told = f"--model-path {out} --model-base {BASE} --conv-mode llava_llama_2"
    assert told in capsys.readouterr().err


def test_flags_that_contradict_the_model_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_lesson(tmp_path)
    for flag, value in (("mm_projector_type", "linear"), ("vision_tower", "openai/clip")):
        assert learn("finetune", *bundled(tmp_path / "out"), *data, f"--{flag}", value) == 2
        assert f"--{flag} {value}: the model has another one" in capsys.readouterr().err
    words = ["--model_name_or_path", BASE, "--output_dir", tmp_path / "out", *data]
    assert learn("pretrain", *words) == 2
    assert "is a language model without a vision tower" in capsys.readouterr().err
