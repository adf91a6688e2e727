"""Attention over a flat batch: each request looks at its own tokens only, however many they are.

Without padding no request pays for the length of another, and its numbers do not depend on who
runs beside it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface

from llava_serve.engines.torch.cache import Segment

NAME = "llava_serve_segments"


def attend_segments(  # noqa: PLR0913 - transformers calls it with these
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    segments: Sequence[Segment],
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally within each segment and to what is cached before it.

    Args:
        module: the attention layer that asks.
        query: (1, heads, tokens, head size), the flat batch.
        key: (places, KV heads, head size), the whole cache; `value` likewise.
        attention_mask: always None, because `segments` say who may look where.
        segments: what the flat batch consists of.
        scaling: of the scores; None for one over the root of the head size.
        sliding_window: how many tokens back one may look, itself included; None for all.

    Returns:
        (1, tokens, heads, head size), and no weights.
    """
    parts = []
    for segment in segments:
        keys = key[segment.visible].transpose(0, 1)[None]
        values = value[segment.visible].transpose(0, 1)[None]
        asked = query[:, :, segment.tokens]
        if segment.count == 1:
            parts.append(_attend_one(asked, keys, values, scaling, sliding_window))
            continue
        mask = _mask(segment, sliding_window, query.device)
        parts.append(
            functional.scaled_dot_product_attention(
                asked,
                keys,
                values,
                attn_mask=mask,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    attended = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return attended.transpose(1, 2).contiguous(), None


def _attend_one(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """Attend with the one newest token: (1, heads, 1, head size), which may look at all keys.

    The heads that share keys go as so many tokens of one head, because PyTorch would write out a
    copy of the keys for each of them.
    """
    seen = slice(None) if sliding_window is None else slice(-sliding_window, None)
    attended = functional.scaled_dot_product_attention(
        query.reshape(1, keys.shape[1], -1, query.shape[-1]),
        keys[:, :, seen],
        values[:, :, seen],
        scale=scaling,
    )
    return attended.reshape(query.shape)


def _mask(
    segment: Segment, sliding_window: int | None, device: torch.device
) -> torch.Tensor | None:
    """Return True where a token (row) may look (column); None where plain causality says it."""
    length = segment.past + segment.count
    fits_window = sliding_window is None or length <= sliding_window
    if fits_window and segment.past == 0:
        return None
    at = torch.arange(segment.past, length, device=device)[:, None]
    looked_at = torch.arange(length, device=device)
    mask = looked_at <= at
    if sliding_window is not None:
        mask &= looked_at > at - sliding_window
    return mask


AttentionInterface.register(NAME, attend_segments)
