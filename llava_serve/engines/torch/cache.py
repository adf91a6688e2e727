"""The KV cache: one block of memory for all requests, written by the model through transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, PreTrainedConfig


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens of one request in a step: `count` of them, at `offset` of the step's flat batch.

    They are written to the cache at `start + past`, behind the `past` tokens of the same request.
    """

    offset: int
    count: int
    start: int
    past: int

    @property
    def tokens(self) -> slice:
        """Where they stand in the flat batch."""
        return slice(self.offset, self.offset + self.count)

    @property
    def visible(self) -> slice:
        """The places of the cache that the last of them may look at."""
        return slice(self.start, self.start + self.past + self.count)


class SpanCache(Cache):
    """Keys and values of every layer, (tokens, heads, head size) each.

    There is one block of them for each device that has layers. What a step writes and reads is set
    by `place` before the model runs.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        total: int,
        dtype: torch.dtype,
        devices: Sequence[torch.device],
    ) -> None:
        """Reserve `total` tokens; `devices` says where each layer is."""
        super().__init__(layers=[])
        shape = (2, total, *_heads(config))
        self._blocks = {
            device: torch.empty((devices.count(device), *shape), dtype=dtype, device=device)
            for device in dict.fromkeys(devices)
        }
        layers = {device: iter(block) for device, block in self._blocks.items()}
        self._layers = [(device, *next(layers[device])) for device in devices]
        self._places: dict[torch.device, torch.Tensor] = {}

    def place(self, segments: Sequence[Segment]) -> None:
        """Say where the next step's tokens belong."""
        places = [torch.arange(s.start + s.past, s.start + s.past + s.count) for s in segments]
        joined = torch.cat(places)
        self._places = {device: joined.to(device) for device in self._blocks}

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a layer's new keys and values, (1, heads, tokens, head size); return all."""
        device, keys, values = self._layers[layer_idx]
        places = self._places[device]
        keys.index_copy_(0, places, key_states[0].transpose(0, 1))
        values.index_copy_(0, places, value_states[0].transpose(0, 1))
        return keys, values

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy `count` tokens from the place `source` on to the place `target` on, no overlap."""
        for block in self._blocks.values():
            block[:, :, target : target + count] = block[:, :, source : source + count]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        raise NotImplementedError("each request has its own length: give the model position_ids")


def bytes_per_token(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Return the memory that one token takes in all layers."""
    heads, size = _heads(config)
    return 2 * int(config.num_hidden_layers) * heads * size * dtype.itemsize


def _heads(config: PreTrainedConfig) -> tuple[int, int]:
    """Return how many heads keys and values have, and the size of one."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return heads, size
