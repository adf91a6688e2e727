"""Command line of a training: LLaVA's published flags, read by transformers' own parser."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import torch
from transformers import HfArgumentParser

from llava_serve.errors import CommandError
from llava_serve.training.flags import DataFlags, Mode, ModelFlags, RunFlags, TrainingFlags

PROGRAM = "python -m llava_serve.train"
# What flags of the time of LLaVA's scripts are called in transformers 5.
_RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": "warmup_steps",
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
    "no_cuda": "use_cpu",
}
_ONE_PROCESS = "Leave it out, and start with python instead of deepspeed or torchrun: one process."
_NO_EVALUATION = "Leave it out, and ask the model with python -m llava_serve.evaluate."
# Flags that are taken with some values only: these, and what to do instead.
_ONLY: dict[str, tuple[tuple[object, ...], str]] = {
    "eval_strategy": (("no",), _NO_EVALUATION),
    "do_eval": ((False,), _NO_EVALUATION),
    "do_predict": ((False,), _NO_EVALUATION),
    "eval_on_start": ((False,), _NO_EVALUATION),
    "load_best_model_at_end": ((False,), _NO_EVALUATION),
    "fsdp": ((None, False, "", []), _ONE_PROCESS),
    "fsdp_config": ((None,), _ONE_PROCESS),
    "parallelism_config": ((None,), _ONE_PROCESS),
    "push_to_hub": ((False,), "Leave it out, and upload the folder when it is there."),
    "resume_from_checkpoint": (
        (None,),
        "Leave it out: the same command goes on from the last checkpoint in --output_dir.",
    ),
    "save_only_model": ((False,), "Leave it out: without the optimizer nothing could go on."),
    "train_sampling_strategy": (("random",), "Give --group_by_modality_length True instead."),
    "remove_unused_columns": ((False,), "Leave it out: samples have no columns."),
    "lazy_preprocess": ((True,), "Leave it out: samples are prepared when they are needed."),
    "is_multimodal": ((True,), "Leave it out: the samples tell."),
    "mm_use_im_patch_token": ((None, False), "No model is trained with it today: say False."),
    "lora_bias": (("none",), "Leave it out: biases are not trained."),
    "lora_weight_path": (("",), "Leave it out: LLaVA never read it."),
    "bits": ((4, 8, 16), "Say 4, 8 or 16."),
    "double_quant": ((True,), "Leave it out."),
    "quant_type": (("nf4",), "Leave it out."),
    "cache_dir": ((None,), "Set HF_HOME instead."),
    "mpt_attn_impl": ((None,), "Leave it out: models of MPT's kind do not load."),
}


def parse_flags(words: Sequence[str]) -> TrainingFlags:
    """Read a command line; the first word may be the mode, which else follows from the flags.

    Raises:
        CommandError: a flag is unknown, contradicts another, or cannot be honoured here.
    """
    named = next((mode for mode in get_args(Mode) if words[:1] == [mode]), None)
    words = list(_renamed(words[1:] if named else words))
    _refuse_processes(words)
    words = _without(words, "--local_rank")  # launchers give it, and say the same by environment
    if not torch.cuda.is_available():
        words = _without(
            words, "--tf32"
        )  # the leave to multiply less exactly, which changes nothing
    if not {"-h", "--help", "--remove_unused_columns"} & set(words):
        words += ["--remove_unused_columns", "False"]
    types: Any = (ModelFlags, DataFlags, RunFlags)
    parser = HfArgumentParser(types, prog=PROGRAM, allow_abbrev=False)
    parser.usage = (
        f"{PROGRAM} [{'|'.join(get_args(Mode))}] --model_name_or_path ... --data_path ..."
    )
    try:
        *own, unknown = parser.parse_args_into_dataclasses(words, return_remaining_strings=True)
    except (ValueError, RuntimeError, ImportError) as exc:
        raise CommandError(str(exc), f"{PROGRAM} --help lists the flags.") from exc
    if unknown:
        raise CommandError(f"unknown: {' '.join(unknown)}", f"{PROGRAM} --help lists the flags.")
    model, data, run = own
    flags = TrainingFlags(_mode(named, model), model, data, run)
    _require_names(flags)
    _refuse(flags)
    return flags


def _renamed(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("--"):
            yield word
        elif equals:
            yield from (f"--{_RENAMED.get(name, name)}", value)
        else:
            yield f"--{_RENAMED.get(name, name)}"


def _without(words: list[str], flag: str) -> list[str]:
    """Leave out a flag, with the value that it may have."""
    if flag not in words:
        return words
    at = words.index(flag)
    takes_value = at + 1 < len(words) and not words[at + 1].startswith("--")
    return words[:at] + words[at + 1 + takes_value :]


def _refuse_processes(words: list[str]) -> None:
    """Refuse what transformers would begin to prepare while it reads the flags."""
    if "--deepspeed" in words:
        raise CommandError("--deepspeed cannot be honoured", _ONE_PROCESS)
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise CommandError(f"{processes} processes were started", _ONE_PROCESS)


def _mode(named: Mode | None, model: ModelFlags) -> Mode:
    if model.lora_enable and model.tune_mm_mlp_adapter:
        raise CommandError(
            "--lora_enable and --tune_mm_mlp_adapter exclude each other",
            "Train the projector first, and then a LoRA with --pretrain_mm_mlp_adapter.",
        )
    by_flags: Mode = "finetune"
    if model.lora_enable:
        by_flags = "lora"
    if model.tune_mm_mlp_adapter:
        by_flags = "pretrain"
    if named is not None and by_flags not in ("finetune", named):
        flag = "--lora_enable" if by_flags == "lora" else "--tune_mm_mlp_adapter"
        raise CommandError(f"{named} and {flag} exclude each other", "Leave one of them out.")
    return named or by_flags


def _refuse(flags: TrainingFlags) -> None:
    """Refuse what cannot be honoured, by name. Raises: CommandError."""
    for part in (flags.model, flags.data, flags.run):
        for name, (taken, remedy) in _ONLY.items():
            value = getattr(part, name, taken[0])
            if getattr(value, "value", value) not in taken:
                raise CommandError(f"--{name} {value} cannot be honoured", remedy)
    _refuse_bits(flags)
    reports: Any = flags.run.report_to
    for name in reports:
        if name != "none" and importlib.util.find_spec(name) is None and name != "all":
            raise CommandError(
                f"--report_to {name} needs the package {name}, which is not installed",
                f"Install it with `pip install {name}`, or give --report_to none.",
            )


def _require_names(flags: TrainingFlags) -> None:
    for name in ("model_name_or_path", "data_path"):
        if not (getattr(flags.model, name, "") or getattr(flags.data, name, "")):
            raise CommandError(f"--{name} is missing", f"{PROGRAM} --help says what it is.")


def _refuse_bits(flags: TrainingFlags) -> None:
    if flags.mode != "lora" and flags.model.bits != 16:
        raise CommandError(
            f"--bits {flags.model.bits} goes with a LoRA alone: quantised weights do not learn",
            "Add --lora_enable True, or leave out --bits.",
        )
    if flags.model.bits != 16 and importlib.util.find_spec("bitsandbytes") is None:
        raise CommandError(
            f"--bits {flags.model.bits} needs the package bitsandbytes",
            "Install it with `pip install bitsandbytes`, or leave out --bits.",
        )
