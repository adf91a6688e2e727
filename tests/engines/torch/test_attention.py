import pytest
import torch
from torch import nn

from llava_serve.engines.torch.attention import AttentionSegment, attend_segments

HEADS, KV_HEADS, SIZE = 4, 2, 8


def expected(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, past: int, window: int | None
) -> torch.Tensor:
    """Attention written out for one segment: (tokens, heads, size) in and out."""
    keys, values = (x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (keys, values))
    scores = torch.einsum("qhd,khd->hqk", query, keys) / SIZE**0.5
    for row in range(len(query)):
        at = past + row
        for column in range(len(keys)):
            if column > at or (window is not None and column <= at - window):
                scores[:, row, column] = -torch.inf
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), values)


@pytest.mark.parametrize("window", [None, 1, 4, 9, 100])
def test_each_segment_sees_itself_and_what_is_cached_before_it(window: int | None) -> None:
    """A whole prompt, a chunk behind another, and an answer's single token, in one flat batch."""
    segments = [
        AttentionSegment(0, 5, 3, 0),
        AttentionSegment(5, 4, 20, 7),
        AttentionSegment(9, 1, 40, 11),
    ]
    torch.manual_seed(0)
    query = torch.randn(1, HEADS, 10, SIZE)
    key, value = torch.randn(60, KV_HEADS, SIZE), torch.randn(60, KV_HEADS, SIZE)
    attended, _ = attend_segments(
        nn.Identity(), query, key, value, None, segments=segments, sliding_window=window
    )
    for each in segments:
        alone = expected(
            query[0, :, each.tokens].transpose(0, 1),
            key[each.visible],
            value[each.visible],
            each.num_computed_tokens,
            window,
        )
        assert torch.allclose(attended[0, each.tokens], alone, atol=1e-5)
