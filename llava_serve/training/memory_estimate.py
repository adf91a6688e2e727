"""Memory of a training: what weights, gradients, optimizer and activations will take."""

from dataclasses import dataclass

from transformers import PreTrainedModel

from llava_serve.checkpoints.memory import free_bytes, shown
from llava_serve.training.flags import RunFlags

_MOMENTS = 8  # bytes of a weight's two moments in AdamW's float32
_GRADIENT = 4  # bytes
# Numbers kept of one token for the way back, in hidden sizes: of a layer's inner states (attention
# and gated MLP), or of its input alone where the rest is computed again.
_KEPT, _KEPT_AGAIN = 34, 1
_LOGITS = 10  # bytes: the number, its float32 copy and its gradient


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes of each part; `activations` is a rough figure for the largest batch."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    free: int

    @property
    def total(self) -> int:
        """The bytes of all parts."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        return (
            f"{shown(self.total)} of memory: {shown(self.weights)} of weights, "
            f"{shown(self.gradients)} of gradients, {shown(self.optimizer)} of the optimizer and "
            f"about {shown(self.activations)} of activations; {shown(self.free)} are free beside "
            "the weights"
        )

    @property
    def fits(self) -> bool:
        """Say whether what is to come fits into what is free: the weights are there."""
        return self.total - self.weights <= self.free


def estimate(model: PreTrainedModel, run: RunFlags, longest: int) -> MemoryEstimate:
    """Estimate for batches of samples of `longest` tokens."""
    learning = sum(each.numel() for each in model.parameters() if each.requires_grad)
    held = sum(each.numel() * each.element_size() for each in model.parameters())
    text = model.config.get_text_config()
    itemsize = 2 if run.bf16 or run.fp16 else 4
    kept = _KEPT_AGAIN if run.activation_checkpointing else _KEPT
    layers = text.num_hidden_layers * text.hidden_size * kept * itemsize
    if run.activation_checkpointing:
        layers += text.hidden_size * _KEPT * itemsize  # of the one layer that is computed again
    activations = run.train_batch_size * longest * (layers + text.vocab_size * _LOGITS)
    return MemoryEstimate(
        held, learning * _GRADIENT, learning * _MOMENTS, activations, free_bytes(model.device)
    )
