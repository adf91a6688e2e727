"""Trainer: transformers' own, with LLaVA's batches, learning rates and files."""

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.errors import CommandError
from llava_serve.training import kept_state
from llava_serve.training.batch_order import GroupedSampler
from llava_serve.training.embedding import embedded
from llava_serve.training.flags import RunFlags
from llava_serve.training.served_folder import ServedFolder
from llava_serve.training.trained_parts import PROJECTOR_PARTS, TOWER_PART


class LlavaTrainer(Trainer):
    """Trains `loaded`; `kinds` tell samples with media, which are 1, from those without."""

    def __init__(
        self, loaded: LoadedModel, folder: ServedFolder, kinds: bytearray, **options: Any
    ) -> None:
        self._loaded = loaded
        self._folder = folder
        self._kinds = kinds
        super().__init__(**options)

    @property
    def _flags(self) -> RunFlags:
        assert isinstance(self.args, RunFlags)
        return self.args

    @property
    def _output(self) -> Path:
        return Path(str(self._flags.output_dir))

    @property
    def _trained(self) -> torch.nn.Module:
        assert self.model is not None
        return self.model

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of a batch, with features packed as serving packs them."""
        if self._loaded.original is not None:
            with self.accelerator.autocast():
                inputs = embedded(self._loaded, inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Take a step.

        Raises:
            CommandError: the loss is no number.
        """
        loss = super().training_step(*args, **kwargs)
        if not math.isfinite(float(loss)):
            step = self.state.global_step + 1
            kept = kept_state.last_checkpoint(self._output)
            since = f"goes on from {kept}" if kept else "begins anew: no checkpoint was written"
            raise CommandError(
                f"the loss of step {step} is {float(loss)}: the training has gone astray",
                "Lower --learning_rate, give --bf16 True instead of --fp16 True, or --warmup_ratio "
                f"0.03 and --max_grad_norm 1. The same command {since}.",
            )
        return loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        flags = self._flags
        if not (flags.group_by_modality_length or flags.group_by_length):
            found: Sampler[int] | None = super()._get_train_sampler(train_dataset)
            return found
        data: Any = self.train_dataset
        kinds = self._kinds if flags.group_by_modality_length else bytes(len(self._kinds))
        size = flags.train_batch_size * flags.gradient_accumulation_steps
        return GroupedSampler(data.lengths, kinds, size, flags.seed)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimizer; projector and tower may have learning rates of their own."""
        flags = self._flags
        if flags.mm_projector_lr is None and flags.mm_vision_tower_lr is None:
            return super().create_optimizer(model)
        model = self.model if model is None else model
        decayed = set(self.get_decay_parameter_names(model))
        # What the Trainer reports is the rate of the first.
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {
            (flags.learning_rate, True): []
        }
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((self._rate(name), name in decayed), []).append(parameter)
        kind, options = self.get_optimizer_cls_and_kwargs(flags, model)
        self.optimizer = kind(
            [
                {"params": each, "lr": rate, "weight_decay": flags.weight_decay * decays}
                for (rate, decays), each in groups.items()
            ],
            **options,
        )
        return self.optimizer

    def _rate(self, name: str) -> float:
        own = None
        if any(part in name for part in PROJECTOR_PARTS):
            own = self._flags.mm_projector_lr
        elif TOWER_PART in name:
            own = self._flags.mm_vision_tower_lr
        return self._flags.learning_rate if own is None else own

    def read(self, checkpoint: Path) -> None:
        """Take the weights of a checkpoint. Raises: CommandError, as `read_weights`."""
        kept_state.read_weights(self._trained, checkpoint)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir) if output_dir else self._output
        self._folder.write(folder, is_last=False)
        kept_state.write_weights(self._trained, folder)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        folder = self._output / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(*args, **kwargs)
        except (OSError, SafetensorError, RuntimeError) as exc:
            shutil.rmtree(folder, ignore_errors=True)
            raise not_written(folder, exc) from exc

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.read(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except Exception as exc:
            raise kept_state.unreadable(Path(checkpoint or ""), exc) from exc


def not_written(folder: Path, reason: Exception) -> CommandError:
    """Return the error of a folder that cannot be written, as when a disk is full."""
    free = shutil.disk_usage(folder.parent).free / 1e9
    return CommandError(
        f"{folder} cannot be written: {reason} ({free:,.1f} GB are free there)",
        "Make room, or lower --save_total_limit; the same command then goes on from the last "
        "checkpoint that was written.",
    )


class MetricsLog(TrainerCallback):
    """Writes a line to the log for what the Trainer reports."""

    def __init__(self, write: Any) -> None:
        self._write = write

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write a line."""
        shown = ", ".join(f"{name} {value:.6g}" for name, value in (logs or {}).items())
        self._write("step %d of %d: %s", state.global_step, state.max_steps, shown)
