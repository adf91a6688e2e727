"""Kept state: the checkpoints that a training writes on its way, and goes on from."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from llava_serve.checkpoints.weights import open_file
from llava_serve.errors import CheckpointError, CommandError

logger = logging.getLogger(__name__)

_PREFIX = "checkpoint-"
_WRITTEN_LAST = "trainer_state.json"
_WEIGHTS = "trained.safetensors"
_FLAGS = "training_flags.json"


def last_checkpoint(output_dir: Path) -> Path | None:
    """Return the last checkpoint in a folder; None without one.

    What a training left half written, because it was killed, is removed.

    Raises:
        CommandError: its state cannot be read.
    """
    found = [path for path in output_dir.glob(f"{_PREFIX}*") if path.name[len(_PREFIX) :].isdigit()]
    whole = []
    for path in sorted(found, key=lambda path: int(path.name[len(_PREFIX) :])):
        if (path / _WRITTEN_LAST).exists():
            whole.append(path)
        else:
            logger.warning("%s was not written to its end: removed", path)
            shutil.rmtree(path)
    if not whole:
        return None
    try:
        json.loads((whole[-1] / _WRITTEN_LAST).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise unreadable(whole[-1], exc) from exc
    return whole[-1]


def is_finished(checkpoint: Path, max_steps: int, epochs: float) -> bool:
    """Tell whether a checkpoint is of the last step; `max_steps` counts where it is above 0."""
    state = json.loads((checkpoint / _WRITTEN_LAST).read_text("utf-8"))
    done, wanted = ("global_step", max_steps) if max_steps > 0 else ("epoch", epochs)
    return bool(state[done] >= wanted)


def require_same_flags(output_dir: Path, flags: Mapping[str, object], *, is_begun: bool) -> None:
    """Write the flags of a training that begins, and compare those of one that goes on.

    Raises:
        CommandError: it was begun with another value of one of them.
    """
    path, told = output_dir / _FLAGS, {name: str(value) for name, value in flags.items()}
    if not is_begun or not path.exists():
        path.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
        return
    before = json.loads(path.read_text("utf-8"))
    for name, value in told.items():
        if before.get(name, value) != value:
            raise CommandError(
                f"{output_dir} holds a training with --{name} {before[name] or '(empty)'}, and "
                f"this one has {value or '(empty)'}",
                "Give another --output_dir, or the flags that it was begun with to go on.",
            )


def unreadable(checkpoint: Path, reason: object) -> CommandError:
    """Return the error of a checkpoint that cannot be gone on from."""
    return CommandError(
        f"the checkpoint {checkpoint} cannot be read: {reason}",
        f"Remove {checkpoint}: the same command then goes on from the one before, or begins anew.",
    )


def write_weights(model: torch.nn.Module, folder: Path) -> None:
    """Write the weights that learn, under their names in memory."""
    weights = {name: each.detach().cpu().contiguous() for name, each in _learning(model).items()}
    save_file(weights, folder / _WEIGHTS)


def read_weights(model: torch.nn.Module, folder: Path) -> None:
    """Read what `write_weights` wrote.

    Raises:
        CommandError: the file cannot be read, or is of a training of other parts.
    """
    learning = _learning(model)
    try:
        held = open_file(folder / _WEIGHTS)
    except CheckpointError as exc:
        raise unreadable(folder, exc) from exc
    shapes = {name: weight.shape for name, weight in held.items()}
    if shapes != {name: tuple(parameter.shape) for name, parameter in learning.items()}:
        raise CommandError(
            f"the checkpoint {folder} is of a training of other parts of the model",
            "Give the flags that it was begun with, or another --output_dir.",
        )
    with torch.no_grad():
        for name, parameter in learning.items():
            parameter.copy_(held[name].read())


def _learning(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: each for name, each in model.named_parameters() if each.requires_grad}
