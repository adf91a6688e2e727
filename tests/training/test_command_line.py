"""LLaVA's published command lines are understood; what cannot be honoured is refused by name."""

import shlex
from pathlib import Path

import pytest

from llava_serve import train
from llava_serve.errors import CommandError
from llava_serve.training.command_line import parse_flags
from llava_serve.training.flags import TrainingFlags

# Flags of haotian-liu/LLaVA@c121f04 scripts/v1_5/*.sh, on one GPU and with no report to wandb.
ALL = """
    --mm_vision_select_layer -2 --mm_use_im_start_end False --mm_use_im_patch_token False
    --bf16 True --num_train_epochs 1 --per_device_train_batch_size 16
    --per_device_eval_batch_size 4 --gradient_accumulation_steps 1 --evaluation_strategy "no"
    --save_strategy "steps" --save_steps 50000 --save_total_limit 1 --learning_rate 2e-5
    --weight_decay 0. --warmup_ratio 0.03 --lr_scheduler_type "cosine" --logging_steps 1
    --tf32 True --model_max_length 2048 --gradient_checkpointing True
    --dataloader_num_workers 4 --lazy_preprocess True --report_to none
"""
TASK = "--model_name_or_path liuhaotian/llava-v1.5-13b --group_by_modality_length True"
LORA = "--lora_enable True --lora_r 128 --lora_alpha 256 --mm_projector_lr 2e-5"
PRETRAIN = "--model_name_or_path lmsys/vicuna-13b-v1.5 --version plain --tune_mm_mlp_adapter True"
QLORA = "--lora_enable True --bits 4 --model_name_or_path ./checkpoints/vicuna --version v1"


def parsed(flags: str, tmp_path: Path, mode: str = "") -> TrainingFlags:
    own = f"--data_path a.json --output_dir {tmp_path} --use_cpu True --local_rank 0"
    return parse_flags(shlex.split(f"{mode} {ALL} {own} {flags}"))


@pytest.mark.parametrize(
    ("flags", "mode"),
    [(TASK, "finetune"), (f"{TASK} {LORA}", "lora"), (PRETRAIN, "pretrain"), (QLORA, "lora")],
)
def test_a_published_command_line_says_what_is_trained(
    flags: str, mode: str, tmp_path: Path
) -> None:
    told = parsed(flags, tmp_path)
    assert told.mode == mode
    assert told.run.warmup_steps == 0.03
    assert told.run.activation_checkpointing is True
    assert told.run.eval_strategy == "no"
    assert told.run.learning_rate == 2e-5
    assert told.model.mm_vision_select_layer == -2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--deepspeed ./scripts/zero3.json", "--deepspeed"),
        ("--fsdp full_shard", "--fsdp"),
        ("--eval_strategy steps", "--eval_strategy"),
        ("--push_to_hub True", "--push_to_hub"),
        ("--resume_from_checkpoint a", "--resume_from_checkpoint"),
        ("--mm_use_im_patch_token True", "--mm_use_im_patch_token"),
        ("--cache_dir a", "--cache_dir"),
        ("--bits 4", "--bits 4 goes with a LoRA alone"),
        ("--lora_enable True --bits 5", "--bits 5"),
        ("--lora_enable True --tune_mm_mlp_adapter True", "exclude each other"),
        ("--lora_enable True --lora_bias all", "--lora_bias"),
        ("--model_name_or_path ''", "--model_name_or_path is missing"),
        ("--no_such_flag 3", "--no_such_flag"),
        ("--report_to wandb", "wandb"),
        ("--lazy_preprocess False", "--lazy_preprocess"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(flags: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        parsed(f"{TASK} {flags}", tmp_path)
    assert caught.value.remedy


def test_a_mode_that_flags_contradict_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="pretrain and --lora_enable exclude each other"):
        parsed(f"{TASK} {LORA}", tmp_path, "pretrain")


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(CommandError, match="2 processes were started"):
        parsed(TASK, tmp_path)


@pytest.mark.slow
def test_data_that_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--model_name_or_path", "a", "--data_path", str(tmp_path / "a.json")]) == 2
    assert "a.json cannot be read" in capsys.readouterr().err


def test_help_has_a_line_for_each_own_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        train.main(["--help"])
    said = capsys.readouterr().out
    assert "--mm_projector_lr" in said
    assert "train the projector alone" in said
