"""The KV cache: memory for keys and values, its allocator, and the prefix cache of ended requests.

Each sequence holds one contiguous KV region, so that attention reads it as a view, without a copy
or a block table; the price is a copy where a region cannot grow in place. When its sequence ends,
a region stays as a cached prefix until its room is needed; the least recently used one is evicted
first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Cache, PreTrainedConfig

from llava_serve.checkpoints.memory import kv_heads
from llava_serve.engines.torch.attention import AttentionSegment

Keys = npt.NDArray[np.int64]
NO_KEYS: Keys = np.empty(0, np.int64)
_WORTH_WAITING = 16  # tokens: prefill of fewer takes about one step anyway


@dataclass(eq=False, slots=True)
class KVRegion:
    """Places `start` to `start + capacity` of the cache; the first `len(keys)` are computed.

    A key says what stands at a place: a token's id, or a negative number for a feature row of an
    image. `pending_keys` are those that the prefill under way will have computed.
    """

    start: int
    capacity: int
    keys: Keys = field(default_factory=lambda: NO_KEYS)
    pending_keys: Keys = field(default_factory=lambda: NO_KEYS)
    is_held: bool = True  # by a sequence; else it is a cached prefix
    last_used: int = 0

    @property
    def end(self) -> int:
        return self.start + self.capacity

    def end_prefill(self) -> None:
        """Let other sequences share what the prefill has computed."""
        if len(self.pending_keys):
            self.keys, self.pending_keys = self.pending_keys, NO_KEYS


@dataclass(frozen=True, slots=True)
class Allocation:
    """A region for a sequence, of which the first `num_cached_tokens` need no computing.

    They are there already, or must be copied from the place `copy_from` on first.
    """

    region: KVRegion
    num_cached_tokens: int
    copy_from: int | None = None


class KVAllocator:
    """Allocates the places 0 to `total` of the KV cache and keeps its cached prefixes."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._regions: list[KVRegion] = []  # by start
        self._clock = 0

    @property
    def held(self) -> int:
        """Count the places of running sequences."""
        return sum(region.capacity for region in self._regions if region.is_held)

    @property
    def cached(self) -> int:
        """Count the places of cached prefixes."""
        return sum(region.capacity for region in self._regions if not region.is_held)

    def is_being_prefilled(self, keys: Keys) -> bool:
        """Say whether a prefill under way computes a longer prefix of `keys` than is cached."""
        _, cached = self._longest_prefix(keys[:-1])
        enough = cached + _WORTH_WAITING
        return any(common_prefix(each.pending_keys, keys[:-1]) > enough for each in self._regions)

    def allocate(self, keys: Keys, capacity: int) -> Allocation | None:
        """Allocate a region for a sequence whose tokens have these `keys`; None without room.

        At least the last token is left to compute, for its logits.
        """
        source, shared = self._longest_prefix(keys[:-1])
        takes_over = source is not None and not source.is_held and 2 * shared >= len(source.keys)
        if source is not None and takes_over and self._grow_in_place(source, capacity):
            return self._allocated(source, keys, shared)
        spared = source if source is not None and not source.is_held else None
        region = self._place(capacity, spared)
        if region is None and spared is not None:
            region, source = self._place(capacity, None), None
        if region is None:
            return None
        if source is None or shared == 0:
            return self._allocated(region, keys, 0)
        self._touch(source)
        return self._allocated(region, keys, shared, copy_from=source.start)

    def extend(self, region: KVRegion, capacity: int) -> Allocation | None:
        """Make a full region larger, maybe elsewhere; None without room."""
        filled = region.capacity
        if self._grow_in_place(region, capacity):
            return Allocation(region, filled)
        moved = self._place(capacity, None)
        if moved is None:
            return None
        self._regions.remove(region)
        moved.keys, moved.pending_keys = region.keys, region.pending_keys
        self._touch(moved)
        return Allocation(moved, filled, copy_from=region.start)

    def free(self, region: KVRegion, keys: Keys) -> None:
        """Turn a sequence's region into a cached prefix; `keys` say what of it is computed."""
        region.keys, region.pending_keys = keys, NO_KEYS
        region.capacity = len(keys)
        region.is_held = False
        self._touch(region)
        others = [other for other in self._regions if other is not region]
        if not len(keys) or any(_begins_with(other.keys, keys) for other in others):
            self._regions = others  # another holds the same

    def _longest_prefix(self, keys: Keys) -> tuple[KVRegion | None, int]:
        best, longest = None, 0
        for region in self._regions:
            shared = common_prefix(region.keys, keys)
            # Of equals one that nobody holds is better: it need not be copied.
            if shared > longest or (shared == longest > 0 and not region.is_held):
                best, longest = region, shared
        return best, longest

    def _grow_in_place(self, region: KVRegion, capacity: int) -> bool:
        """Give `region` the places behind it, evicting prefixes; False if a sequence holds one."""
        end = region.start + capacity
        behind = [other for other in self._regions if region.start < other.start < end]
        if end > self.total or any(other.is_held for other in behind):
            return False
        self._evict(region.end, end)
        region.capacity = capacity
        return True

    def _place(self, capacity: int, spared: KVRegion | None) -> KVRegion | None:
        """Find `capacity` free places in a row, evicting the least recently used prefixes."""
        prefixes = sorted(
            (each for each in self._regions if not each.is_held and each is not spared),
            key=lambda each: each.last_used,
        )
        for count in range(len(prefixes) + 1):
            kept = [region for region in self._regions if region not in prefixes[:count]]
            start = _first_gap(kept, capacity, self.total)
            if start is not None:
                region = KVRegion(start, capacity)
                self._evict(start, region.end)  # prefixes beside this gap stay
                self._regions = sorted([*self._regions, region], key=lambda each: each.start)
                return region
        return None

    def _evict(self, start: int, end: int) -> None:
        """Drop the cached prefixes that lie in the places `start` to `end`."""
        self._regions = [each for each in self._regions if each.end <= start or each.start >= end]

    def _allocated(
        self, region: KVRegion, keys: Keys, cached: int, copy_from: int | None = None
    ) -> Allocation:
        region.keys, region.pending_keys = keys[:cached], keys
        region.is_held = True
        self._touch(region)
        return Allocation(region, cached, copy_from)

    def _touch(self, region: KVRegion) -> None:
        self._clock += 1
        region.last_used = self._clock


def common_prefix(one: Keys, two: Keys) -> int:
    """Count the places on which two sequences agree, from the first on."""
    length = min(len(one), len(two))
    differs = one[:length] != two[:length]
    return int(differs.argmax()) if differs.any() else length


def _begins_with(keys: Keys, beginning: Keys) -> bool:
    return common_prefix(keys, beginning) == len(beginning)


def _first_gap(regions: Sequence[KVRegion], capacity: int, total: int) -> int | None:
    start = 0
    for region in regions:
        if region.start - start >= capacity:
            return start
        start = region.end
    return start if total - start >= capacity else None


class KVMemory(Cache):
    """Keys and values of every layer, (tokens, heads, head size) each, as transformers' cache.

    There is one block of them for each device that has layers. `set_segments` says what the next
    forward pass writes.
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
        shape = (2, total, *kv_heads(config))
        self._blocks = {
            device: torch.empty((devices.count(device), *shape), dtype=dtype, device=device)
            for device in dict.fromkeys(devices)
        }
        layers = {device: iter(block) for device, block in self._blocks.items()}
        self._layers = [(device, *next(layers[device])) for device in devices]
        self._places: dict[torch.device, torch.Tensor] = {}

    def set_segments(self, segments: Sequence[AttentionSegment]) -> None:
        """Say where the tokens of the next forward pass are written."""
        places = torch.cat([torch.arange(s.written.start, s.written.stop) for s in segments])
        self._places = {device: places.to(device) for device in self._blocks}

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
        raise NotImplementedError("each sequence has its own length: give the model position_ids")
