"""Losses of the model in training, its auxiliary heads, and its compiled layers."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, LlavaOnevisionForConditionalGeneration

from scripts.tiny.batch import DenseBatch, TrainingBatch
from scripts.tiny.checkpoint import TEXT_WIDTH, VISION_WIDTH
from scripts.tiny.tiles import CHANGES, CLASSES, COLOR_NAMES, SIDE, UNKNOWN
from scripts.tiny.world import SHAPES

_NOTHING_WEIGHT = 0.25  # most patches show nothing
_DIGIT_WEIGHT = 2.0  # digits are rarer and harder than shapes
_HALF_WAY = 3  # layers: what is known there, the later ones can use
_CHANGES_WEIGHT = 2.0  # few samples have them, and nothing else teaches comparing
_SAME_WEIGHT = 0.15  # most patches stay as they were
_ATTENTION = "causal_float"


class Learner(nn.Module):
    """The model and its auxiliary heads, which do not ship, under one loss."""

    def __init__(self, model: LlavaOnevisionForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        self.heads = DenseHeads(VISION_WIDTH)
        self.changes_head = nn.Linear(TEXT_WIDTH, len(CHANGES))

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Return the loss of the answers, the loss of the heads, and figures for the log.

        A batch without dialogues has only the second.
        """
        patches = self.patches(batch.pixels)
        if not batch.kinds:
            dense, figures = self.heads.loss(patches, batch.dense)
            return dense.new_zeros(()), dense, figures
        hidden, early = self.hidden(batch, patches)
        labels = batch.labels[:, 1:]
        answered = labels != UNKNOWN
        logits = self.model.lm_head(hidden[:, :-1][answered]).float()
        loss = functional.cross_entropy(logits, labels[answered])
        dense, figures = self.heads.loss(patches, batch.dense)
        seen = batch.changes != UNKNOWN
        if seen.any():
            changes, found = self.changes_loss(early[seen], batch.changes[seen])
            dense = dense + _CHANGES_WEIGHT * changes
            figures |= found
        wrong = logits.detach().argmax(-1) != labels[answered]
        figures |= {"answer": loss.item()} | _exact(batch, wrong, answered)
        return loss, dense, figures

    def changes_loss(self, early: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Ask a second image's patches, half-way through the text model, what became of them."""
        logits = self.changes_head(functional.layer_norm(early.float(), (TEXT_WIDTH,))).float()
        weights = logits.new_tensor([_SAME_WEIGHT] + [1.0] * (len(CHANGES) - 1))
        loss = functional.cross_entropy(logits, labels, weights)
        changed = labels > 0
        if not changed.any():
            return loss, {}
        right = logits.detach().argmax(-1) == labels
        return loss, {"~change": right[changed].float().mean().item()}

    def patches(self, pixels: Tensor) -> Tensor:
        """Tower features of uint8 (tiles, 96, 96, 3) pixels: (tiles, 64, hidden)."""
        values = pixels.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)
        tower = self.model.model.vision_tower
        states: Tensor = tower(pixel_values=values, output_hidden_states=True).hidden_states[-1]
        return states

    def hidden(self, batch: TrainingBatch, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Last hidden states of the text model and those half-way: (samples, length, hidden)."""
        model = self.model.model
        features = model.multi_modal_projector(patches)
        images = len(features) - batch.frames
        newline = model.image_newline[None].to(features.dtype)
        table = torch.cat([features[:images].flatten(0, 1), newline, pooled(features[images:])])
        embedded = model.get_input_embeddings()(batch.ids)
        flat = embedded.to(features.dtype).flatten(0, 1)
        flat = flat.index_copy(0, batch.positions, table[batch.rows])
        output = model.language_model(
            inputs_embeds=flat.view_as(embedded), use_cache=False, output_hidden_states=True
        )
        return output.last_hidden_state, output.hidden_states[_HALF_WAY]


def _exact(batch: TrainingBatch, wrong: Tensor, answered: Tensor) -> dict[str, float]:
    """Share of answers of each kind whose every token is right, as greedy decoding would give."""
    turn = batch.turns[:, 1:][answered]
    mistakes = torch.zeros(len(batch.kinds), device=wrong.device).index_add(0, turn, wrong.float())
    exact = (mistakes == 0).tolist()
    kinds = Counter(batch.kinds)
    hits = Counter(kind for kind, right in zip(batch.kinds, exact, strict=True) if right)
    return {kind: hits[kind] / count for kind, count in kinds.items()}


def pooled(features: Tensor) -> Tensor:
    """Average two by two patches: (frames, 64, hidden) to (frames * 16, hidden).

    Halving bilinearly is exactly this mean.
    """
    half = SIDE // 2
    blocks = features.view(len(features), half, 2, half, 2, features.shape[-1])
    return blocks.mean(dim=(2, 4)).flatten(0, 2)


class DenseHeads(nn.Module):
    """Linear heads that predict from a patch's features what the patch shows."""

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
        """Return the loss of (tiles, 64, hidden) features, and accuracies for the log."""
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


def make_fast(model: LlavaOnevisionForConditionalGeneration) -> None:
    """Compile each layer, which saves a CPU a third of the time, and attend as `causal_float` does.

    Where there is no compiler the layers stay as they are, and a warning says so.
    """
    torch._dynamo.config.suppress_errors = True
    model.model.language_model.set_attn_implementation(_ATTENTION)
    for tower in (model.model.vision_tower.encoder, model.model.language_model):
        for layer in tower.layers:
            layer.compile(dynamic=True)


def causal_float(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention over right-padded samples; the CPU's fused kernel is slow in bfloat16."""
    with torch.autocast(query.device.type, enabled=False):
        attended = functional.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), is_causal=True, enable_gqa=True
        )
    return attended.transpose(1, 2).to(query.dtype), None


AttentionInterface.register(_ATTENTION, causal_float)
