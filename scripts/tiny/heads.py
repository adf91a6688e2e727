"""Throw-away heads that ask the tower what every patch shows, and the loss of their answers."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.tiny.labels import CLASSES, COLOR_NAMES, UNKNOWN
from scripts.tiny.world import SHAPES

_NOTHING_WEIGHT = 0.25  # most patches show nothing
_DIGIT_WEIGHT = 2.0  # digits are rarer and harder than shapes


@dataclass(frozen=True, slots=True)
class DenseBatch:
    """Labels of many tiles: int64 (tiles, 64) each, `where` float32 (tiles, 64, 4)."""

    what: Tensor
    color: Tensor
    background: Tensor
    cell: Tensor
    centre: Tensor
    where: Tensor

    def to(self, device: torch.device) -> "DenseBatch":
        return DenseBatch(*(getattr(self, f.name).to(device) for f in fields(self)))


class DenseHeads(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.what = nn.Linear(hidden, len(CLASSES))
        self.color = nn.Linear(hidden, len(COLOR_NAMES))
        self.background = nn.Linear(hidden, len(COLOR_NAMES))
        self.cell = nn.Linear(hidden, 9)
        self.centre = nn.Linear(hidden, 2)
        self.where = nn.Linear(hidden, 4)
        self.weights: Tensor
        weights = torch.tensor([_NOTHING_WEIGHT] + [1.0] * len(SHAPES) + [_DIGIT_WEIGHT] * 10)
        self.register_buffer("weights", weights, persistent=False)

    def loss(self, features: Tensor, labels: DenseBatch) -> tuple[Tensor, dict[str, float]]:
        """Score (tiles, 64, hidden) features; also how right some heads are, for the log."""
        flat = features.flatten(0, 1).float()
        what, color, cell = self.what(flat), self.color(flat), self.cell(flat)
        inside = labels.what.flatten() > 0
        where = self.where(flat)[inside] - labels.where.flatten(0, 1)[inside]
        loss = (
            _entropy(what, labels.what, self.weights)
            + 0.5 * _entropy(color, labels.color)
            + 0.2 * _entropy(self.background(flat), labels.background)
            + 0.5 * _entropy(cell, labels.cell)
            + 2.0 * _entropy(self.centre(flat), labels.centre)
            + 3.0 * where.abs().mean()
        )
        return loss, {
            "~what": _accuracy(what, labels.what, inside),
            "~color": _accuracy(color, labels.color, inside),
            "~cell": _accuracy(cell, labels.cell, labels.cell.flatten() >= 0),
            "~offset": where[:, :2].abs().mean().item(),
        }


def _entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    return functional.cross_entropy(logits, labels.flatten(), weights, ignore_index=UNKNOWN)


def _accuracy(logits: Tensor, labels: Tensor, chosen: Tensor) -> float:
    with torch.no_grad():
        return (logits.argmax(-1) == labels.flatten())[chosen].float().mean().item()
