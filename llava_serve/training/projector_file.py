"""Projector file: weights of a projector under LLaVA's names, as `mm_projector.bin` has them."""

import math
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from llava_serve.checkpoints.original.weights import PROJECTORS
from llava_serve.checkpoints.weights import open_file
from llava_serve.errors import CommandError

_NEWLINE = "model.image_newline"
_MARK = "mm_projector."
TWO_LAYERS = "mlp2x_gelu"


def projector_weights(model: PreTrainedModel, kind: str) -> dict[str, torch.Tensor]:
    """Return the weights of the projector, of a kind of `PROJECTORS`, and of the newline."""
    inner: Any = model.model
    found = {}
    for number, layer in enumerate(PROJECTORS[kind], start=1):
        module = getattr(inner.multi_modal_projector, f"linear_{number}")
        for name, weight in module.named_parameters():
            found[f"model.{_MARK}{layer}{name}"] = weight.detach().cpu().clone()
    if (newline := getattr(inner, "image_newline", None)) is not None:
        found[_NEWLINE] = newline.detach().cpu().clone()
    return found


def new_projector(
    kind: str, widths: tuple[int, int], *, has_newline: bool, seed: int
) -> dict[str, torch.Tensor]:
    """Return weights that nobody trained; `widths` are those of the tower and of the model.

    Raises:
        CommandError: there is no projector of this kind that learns.
    """
    if not PROJECTORS.get(kind):
        raise CommandError(
            f"--mm_projector_type {kind} is none that can be trained",
            f"Give one of {', '.join(name for name, layers in PROJECTORS.items() if layers)}.",
        )
    weights = {}
    width, hidden = widths
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number, layer in enumerate(PROJECTORS[kind]):
            linear = torch.nn.Linear(hidden if number else width, hidden)
            for name, weight in linear.state_dict().items():
                weights[f"model.{_MARK}{layer}{name}"] = weight
        if has_newline:
            weights[_NEWLINE] = torch.randn(hidden) / math.sqrt(hidden)
    return weights


def read_into(model: PreTrainedModel, path: Path) -> None:
    """Put the weights in a projector file into a model that has a projector.

    Raises:
        CheckpointError: the file cannot be read.
        CommandError: it is of another projector.
    """
    held = {name[name.find(_MARK) :]: weight for name, weight in open_file(path).items()}
    projector: Any = model.model.multi_modal_projector
    wanted = {
        f"{_MARK}{layer}{name}": parameter
        for number, layer in enumerate(PROJECTORS[TWO_LAYERS], start=1)
        for name, parameter in getattr(projector, f"linear_{number}").named_parameters()
    }
    shapes = {name: weight.shape for name, weight in held.items() if name.startswith(_MARK)}
    if shapes != {name: tuple(parameter.shape) for name, parameter in wanted.items()}:
        found = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "none"
        raise CommandError(
            f"{path} holds another projector than the model's: {found}",
            "Give the mm_projector.bin that was trained for this language model and tower.",
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(held[name].read())
