"""KV cache: memory for keys and values, its allocator, and the prefix cache.

Each sequence holds one contiguous KV region, so that attention reads it as a view, without a copy
or a block table; the price is a copy where a region cannot grow in place. When its sequence ends
or is preempted, a region stays as a cached prefix until its room is needed: by a region that grows
into it, or by a new one, for which the least recently used prefixes are evicted first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Cache, PreTrainedConfig

from llava_serve.checkpoints.memory import kv_heads
from llava_serve.engines.torch.attention import AttentionSegment

CacheKey = npt.NDArray[np.int64]
NO_KEY: CacheKey = np.empty(0, np.int64)
_WORTH_WAITING = 16  # tokens: prefill of fewer takes about one step anyway


@dataclass(eq=False, slots=True)
class KVRegion:
    """Entries `start` to `start + capacity` of the cache; the first `len(key)` are computed.

    The key has a number for each entry, by which prefixes are found: a token's id, or a negative
    number of the image for each of its feature rows. `pending_key` is what the prefill under way
    will have computed.
    """

    start: int
    capacity: int
    key: CacheKey = field(default_factory=lambda: NO_KEY)
    pending_key: CacheKey = field(default_factory=lambda: NO_KEY)
    is_held: bool = True  # by a sequence; else it is a cached prefix
    last_used: int = 0

    @property
    def end(self) -> int:
        return self.start + self.capacity

    def end_prefill(self) -> None:
        """Let other sequences share what the prefill has computed."""
        if len(self.pending_key):
            self.key, self.pending_key = self.pending_key, NO_KEY


@dataclass(frozen=True, slots=True)
class Allocation:
    """A region for a sequence, of which the first `num_cached_tokens` need no computing.

    They are there already, or must be copied from the entry `copy_from` on first.
    """

    region: KVRegion
    num_cached_tokens: int
    copy_from: int | None = None


class KVAllocator:
    """Allocates the entries 0 to `total` of the KV cache and keeps its cached prefixes."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._regions: list[KVRegion] = []  # by start
        self._clock = 0

    @property
    def held(self) -> int:
        """Count the entries of running sequences."""
        return sum(region.capacity for region in self._regions if region.is_held)

    @property
    def cached(self) -> int:
        """Count the entries of cached prefixes."""
        return sum(region.capacity for region in self._regions if not region.is_held)

    def count_cached(self, key: CacheKey) -> int:
        """Count the tokens that a sequence of this key would find; safe to call from any thread."""
        return self._longest_prefix(key[:-1])[1]

    def is_worth_waiting_for(self, key: CacheKey, slow: Collection[KVRegion] = ()) -> bool:
        """Say whether a prefill under way computes a longer prefix of `key` than is cached.

        Those of `slow` regions are not waited for.
        """
        _, cached = self._longest_prefix(key[:-1])
        enough = cached + _WORTH_WAITING
        pending = (each.pending_key for each in self._regions if each not in slow)
        return any(common_prefix(each, key[:-1]) > enough for each in pending)

    def allocate(self, key: CacheKey, capacity: int) -> Allocation | None:
        """Allocate a region for a sequence whose tokens have this key; None without room.

        At least the last token is left to compute, for its logits.
        """
        source, shared = self._longest_prefix(key[:-1])
        # What has less than half in common is worth keeping: its beginning is copied.
        takes_over = source is not None and not source.is_held and 2 * shared >= len(source.key)
        if source is not None and takes_over and self._grow_in_place(source, capacity):
            return self._allocated(source, key, shared)
        protected = source if source is not None and not source.is_held else None
        region = self._find_room(capacity, protected)
        if region is None and protected is not None:
            region, source = self._find_room(capacity, None), None
        if region is None:
            return None
        if source is None or shared == 0:
            return self._allocated(region, key, 0)
        self._touch(source)
        return self._allocated(region, key, shared, copy_from=source.start)

    def extend(self, region: KVRegion, capacity: int) -> Allocation | None:
        """Make a full region larger, maybe elsewhere; None without room."""
        filled = region.capacity
        if self._grow_in_place(region, capacity):
            return Allocation(region, filled)
        moved = self._find_room(capacity, None)
        if moved is None:
            return None
        self._regions.remove(region)
        moved.key, moved.pending_key = region.key, region.pending_key
        self._touch(moved)
        return Allocation(moved, filled, copy_from=region.start)

    def free(self, region: KVRegion, key: CacheKey) -> None:
        """Turn a sequence's region into a cached prefix; `key` says what of it is computed."""
        region.key, region.pending_key = key, NO_KEY
        region.capacity = len(key)
        region.is_held = False
        self._touch(region)
        others = [other for other in self._regions if other is not region]
        if not len(key) or any(common_prefix(each.key, key) == len(key) for each in others):
            self._regions = others  # another holds the same

    def _longest_prefix(self, key: CacheKey) -> tuple[KVRegion | None, int]:
        best, longest = None, 0
        for region in self._regions:
            shared = common_prefix(region.key, key)
            # Of equals one that nobody holds is better: most often it need not be copied.
            if shared > longest or (shared == longest > 0 and not region.is_held):
                best, longest = region, shared
        return best, longest

    def _grow_in_place(self, region: KVRegion, capacity: int) -> bool:
        """Give `region` the entries behind it, evicting prefixes; False if a sequence holds one."""
        end = region.start + capacity
        behind = [other for other in self._regions if region.start < other.start < end]
        if end > self.total or any(other.is_held for other in behind):
            return False
        self._evict(region.end, end)
        region.capacity = capacity
        return True

    def _find_room(self, capacity: int, protected: KVRegion | None) -> KVRegion | None:
        """Find `capacity` free entries in a row, evicting the least recently used prefixes."""
        prefixes = sorted(
            (each for each in self._regions if not each.is_held and each is not protected),
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
        """Drop the cached prefixes that lie in the entries `start` to `end`."""
        self._regions = [each for each in self._regions if each.end <= start or each.start >= end]

    def _allocated(
        self, region: KVRegion, key: CacheKey, cached: int, copy_from: int | None = None
    ) -> Allocation:
        region.key, region.pending_key = key[:cached], key
        region.is_held = True
        self._touch(region)
        return Allocation(region, cached, copy_from)

    def _touch(self, region: KVRegion) -> None:
        self._clock += 1
        region.last_used = self._clock


def common_prefix(one: CacheKey, two: CacheKey) -> int:
    """Count the entries on which two keys agree, from the first on."""
    length = min(len(one), len(two))
    differs = one[:length] != two[:length]
    return int(differs.argmax()) if differs.any() else length


def _first_gap(regions: Sequence[KVRegion], capacity: int, total: int) -> int | None:
    start = 0
    for region in regions:
        if region.start - start >= capacity:
            return start
        start = region.end
    return start if total - start >= capacity else None


class KVPool(Cache):
    """Keys and values of every layer, (tokens, heads, head size) each, as transformers' cache.

    There is one buffer of them for each device that has layers. `set_segments` says what the next
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
        self._buffers = {
            device: torch.empty((devices.count(device), *shape), dtype=dtype, device=device)
            for device in dict.fromkeys(devices)
        }
        layers = {device: iter(buffer) for device, buffer in self._buffers.items()}
        self._layers = [(device, *next(layers[device])) for device in devices]
        self._slot_mapping: dict[torch.device, torch.Tensor] = {}

    def set_segments(self, segments: Sequence[AttentionSegment]) -> None:
        """Say where the tokens of the next forward pass are written."""
        slot_mapping = torch.cat([torch.arange(s.written.start, s.written.stop) for s in segments])
        self._slot_mapping = {device: slot_mapping.to(device) for device in self._buffers}

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
        slot_mapping = self._slot_mapping[device]
        keys.index_copy_(0, slot_mapping, key_states[0].transpose(0, 1))
        values.index_copy_(0, slot_mapping, value_states[0].transpose(0, 1))
        return keys, values

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy `count` tokens from the entry `source` on to the entry `target` on, no overlap."""
        for buffer in self._buffers.values():
            buffer[:, :, target : target + count] = buffer[:, :, source : source + count]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        raise NotImplementedError("each sequence has its own length: give the model position_ids")
