"""Attention over a flat batch: each sequence attends to its own tokens only, without padding.

So no sequence pays for the length of another, and its numbers do not depend on what runs beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface

NAME = "llava_serve_segments"


@dataclass(frozen=True, slots=True)
class AttentionSegment:
    """The `count` tokens of one sequence in a step, from `offset` of the flat batch on.

    Its KV region starts at the place `kv_start` and holds `num_computed_tokens` before the step.
    """

    offset: int
    count: int
    kv_start: int
    num_computed_tokens: int

    @property
    def tokens(self) -> slice:
        """Where they stand in the flat batch."""
        return slice(self.offset, self.offset + self.count)

    @property
    def written(self) -> slice:
        """The places of the KV cache that their keys and values are written to."""
        start = self.kv_start + self.num_computed_tokens
        return slice(start, start + self.count)

    @property
    def visible(self) -> slice:
        """The places of the KV cache that the last of them attends to."""
        return slice(self.kv_start, self.kv_start + self.num_computed_tokens + self.count)


def attend_segments(  # noqa: PLR0913 - transformers calls it with these
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    segments: Sequence[AttentionSegment],
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally within each segment and to what was computed before it.

    Args:
        module: the attention layer that calls.
        query: (1, heads, tokens, head size), the flat batch.
        key: (places, KV heads, head size), the whole KV cache; `value` likewise.
        attention_mask: always None, because `segments` say what each token attends to.
        segments: what the flat batch consists of.
        scaling: of the scores; None for one over the root of the head size.
        sliding_window: how many tokens back a token attends, itself included; None for all.

    Returns:
        (1, tokens, heads, head size), and no weights.
    """
    parts = []
    for segment in segments:
        keys = key[segment.visible].transpose(0, 1)[None]
        values = value[segment.visible].transpose(0, 1)[None]
        queries = query[:, :, segment.tokens]
        if segment.count == 1:
            parts.append(_attend_one(queries, keys, values, scaling, sliding_window))
            continue
        mask = _mask(segment, sliding_window, query.device)
        parts.append(
            functional.scaled_dot_product_attention(
                queries,
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
    """Attend with the one newest token, (1, heads, 1, head size), to all keys.

    The heads that share keys go as so many tokens of one head, because PyTorch would write out a
    copy of the keys for each of them.
    """
    visible = slice(None) if sliding_window is None else slice(-sliding_window, None)
    attended = functional.scaled_dot_product_attention(
        query.reshape(1, keys.shape[1], -1, query.shape[-1]),
        keys[:, :, visible],
        values[:, :, visible],
        scale=scaling,
    )
    return attended.reshape(query.shape)


def _mask(
    segment: AttentionSegment, sliding_window: int | None, device: torch.device
) -> torch.Tensor | None:
    """Return True where a token (row) attends (column); None for plain causal attention."""
    computed = segment.num_computed_tokens
    length = computed + segment.count
    fits_window = sliding_window is None or length <= sliding_window
    if fits_window and computed == 0:
        return None
    at = torch.arange(computed, length, device=device)[:, None]
    attended = torch.arange(length, device=device)
    mask = attended <= at
    if sliding_window is not None:
        mask &= attended > at - sliding_window
    return mask


AttentionInterface.register(NAME, attend_segments)
