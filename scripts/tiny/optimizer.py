"""Optimizers: Muon for hidden matrices, AdamW for the rest, one schedule and number format."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

MUON_RATE = 3e-3
ADAMW_RATE = 1.5e-3
_NOT_MUON = ("embed", "position", "head", "newline")
_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


def precision() -> str:
    """Choose bfloat16 where the hardware multiplies it; elsewhere it is slower than float32."""
    is_fast = torch.cuda.is_available() or torch.cpu.get_capabilities().get("amx_bf16")
    return "bf16" if is_fast else "no"


_WORKING = torch.bfloat16 if precision() == "bf16" else torch.float32


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


def clip_gradients(optimizers: Iterable[Optimizer], most: float = 1.0) -> None:
    """Clip the norm of all gradients to `most`."""
    parameters = [
        parameter
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    torch.nn.utils.clip_grad_norm_(parameters, most)


class StackedMuon(Optimizer):
    """Nesterov momentum, orthogonalized; steps as large as AdamW's.

    Source: Keller Jordan, "Muon"; step size as in Liu et al. 2025, "Muon is Scalable", section 2.2.
    `torch.optim.Muon` does the same matrix by matrix, which costs a CPU twice the time.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        groups: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in matrices:
            groups.setdefault(matrix.shape, []).append(matrix)
        stacks = [{"params": stack} for stack in groups.values()]
        super().__init__(stacks, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            self._step_stack(group)

    def _step_stack(self, group: dict[str, Any]) -> None:
        matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
        if not matrices:
            return
        gradients = torch.stack([matrix.grad for matrix in matrices])
        state = self.state[matrices[0]]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradients)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradients, 1 - _MOMENTUM)
        updates = orthogonalized(gradients.lerp_(momentum, _MOMENTUM))
        rate = group["lr"]
        size = 0.2 * max(updates.shape[-2:]) ** 0.5
        for matrix, update in zip(matrices, updates, strict=True):
            matrix.mul_(1 - rate * group["weight_decay"]).add_(update, alpha=-rate * size)


def orthogonalized(stack: Tensor) -> Tensor:
    """Bring the singular values of each matrix near one; float32 (matrices, rows, columns)."""
    a, b, c = _COEFFICIENTS
    tall = stack.shape[-2] > stack.shape[-1]
    x = (stack.mT if tall else stack).to(_WORKING)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(stack.dtype)
