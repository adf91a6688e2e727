"""The model and its throw-away heads under one loss; features go where transformers puts them."""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlavaOnevisionForConditionalGeneration

from scripts.tiny.architecture import TEXT_WIDTH, VISION_WIDTH
from scripts.tiny.batch import Batch
from scripts.tiny.heads import DenseHeads
from scripts.tiny.labels import CHANGES, UNKNOWN
from scripts.tiny.tiles import SIDE

_HALF_WAY = 3  # layers: what is known there, the later ones can use
_CHANGES_WEIGHT = 2.0  # few samples have them, and nothing else teaches comparing
_SAME_WEIGHT = 0.15  # most patches stay as they were


class Learner(nn.Module):
    def __init__(self, model: LlavaOnevisionForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        self.heads = DenseHeads(VISION_WIDTH)
        self.changes_head = nn.Linear(TEXT_WIDTH, len(CHANGES))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Return the loss of the answers, the loss of the heads, and figures for the log.

        A batch without conversations has only the second.
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
        """Ask a second picture's patches, half-way through the text model, what became of them."""
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

    def hidden(self, batch: Batch, patches: Tensor) -> tuple[Tensor, Tensor]:
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


def _exact(batch: Batch, wrong: Tensor, answered: Tensor) -> dict[str, float]:
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
