"""Muon for the hidden matrices, AdamW for everything else, one schedule for both."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from scripts.tiny.muon import StackedMuon

MUON_RATE = 3e-3
ADAMW_RATE = 1.5e-3
_NOT_MUON = ("embed", "position", "head", "newline")


def build_optimizers(modules: Iterable[nn.Module], scale: float = 1.0) -> list[Optimizer]:
    """Split the trainable parameters of `modules` between the two optimizers."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            hidden = parameter.ndim == 2 and not any(word in name for word in _NOT_MUON)
            (matrices if hidden and "layers" in name else rest).append(parameter)
    optimizers: list[Optimizer] = [
        AdamW(rest, lr=ADAMW_RATE * scale, betas=(0.9, 0.98), weight_decay=0.01)
    ]
    if matrices:
        optimizers.append(StackedMuon(matrices, lr=MUON_RATE * scale, weight_decay=0.02))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rate(optimizers: Iterable[Optimizer], share: float) -> None:
    """Set every group to `share` of its peak rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


def stable_then_decay(done: float, warm_up: float = 0.02, decay: float = 0.2) -> float:
    """Share of the peak rate when `done` (0 to 1) of the training is over."""
    if done < warm_up:
        return max(0.02, done / warm_up)
    return min(1.0, max(0.0, (1 - done) / decay))


def clip(optimizers: Iterable[Optimizer], most: float = 1.0) -> None:
    parameters = [
        parameter
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    torch.nn.utils.clip_grad_norm_(parameters, most)
