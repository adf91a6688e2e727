"""Attention for training on a CPU: half-precision matrices around a full-precision fused kernel."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

NAME = "causal_float"


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


AttentionInterface.register(NAME, causal_float)
