"""Scheduler: admits sequences, gives them KV regions, preempts them, and fills each step.

First come, first served. A step is of batches or of others, as `BatchTurns` decides. In it every
decoding sequence advances by one token, and the rest of the prefill budget goes to prompts, the
oldest first: a long prompt is computed in chunks, so that the answers beside it keep moving.
"""

import itertools
import logging
from collections import deque
from dataclasses import dataclass

from llava_serve import logs
from llava_serve.engines.torch.batch_turns import SHORTER
from llava_serve.engines.torch.kv_cache import Allocation, KVAllocator
from llava_serve.engines.torch.sequence import Sequence, Status

logger = logging.getLogger(__name__)

_DECODE_RESERVE = 256  # entries that are allocated for an answer at once


@dataclass(frozen=True, slots=True)
class ScheduledTokens:
    """The next `count` uncomputed tokens of a sequence are part of the step."""

    sequence: Sequence
    count: int


@dataclass(frozen=True, slots=True)
class ScheduledStep:
    """What a forward pass computes; cached tokens of `allocations` are copied before, in order."""

    tokens: list[ScheduledTokens]
    allocations: list[Allocation]


class Scheduler:
    """Keeps at most `slots` sequences running; the rest wait in the order they came."""

    def __init__(
        self, slots: int, prefill_budget: int, idle_prefill_budget: int, allocator: KVAllocator
    ) -> None:
        """The `idle_prefill_budget` is that of a step in which nothing decodes."""
        self._slots = slots
        self._prefill_budget = prefill_budget
        self._idle_prefill_budget = idle_prefill_budget
        self._allocator = allocator
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # the oldest first

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running)

    @property
    def sequences(self) -> list[Sequence]:
        """All sequences: the running ones, then the waiting ones."""
        return [*self.running, *self.waiting]

    @property
    def is_decoding(self) -> bool:
        """Say whether any running sequence is decoding."""
        return any(sequence.status is Status.DECODE for sequence in self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def candidates(self, *, of_batches: bool = False) -> list[Sequence]:
        """Return the oldest waiting sequences of a kind, one for each free slot."""
        free = self._slots - len(self.running)
        due = (each for each in self.waiting if each.request.is_batch == of_batches)
        return list(itertools.islice(due, free))

    def schedule(self, *, of_batches: bool = False) -> ScheduledStep:
        """Choose what the next forward pass computes; preempts where the KV cache is full."""
        allocations = [*self._extend_running(of_batches), *self._admit(of_batches)]
        running = [each for each in self.running if each.request.is_batch == of_batches]
        tokens = [ScheduledTokens(each, 1) for each in running if each.status is Status.DECODE]
        budget = self._prefill_budget if tokens or of_batches else self._idle_prefill_budget
        if of_batches:
            budget = max(budget // SHORTER, 1)
        for sequence in running:
            if sequence.status is Status.PREFILL and budget > 0:
                count = min(budget, sequence.num_uncomputed_tokens)
                tokens.append(ScheduledTokens(sequence, count))
                budget -= count
        return ScheduledStep(tokens, allocations)

    def preempt(self, sequence: Sequence) -> None:
        """Free its slot and KV region, and put it at the head of the waiting queue.

        Its region stays as a cached prefix: it computes again what was evicted meanwhile.
        """
        logs.request_id.set(sequence.request.request_id)
        logger.info("KV cache full: preempted at %d tokens", len(sequence.tokens))
        self._free(sequence)
        self.waiting.appendleft(sequence)

    def finish(self, sequence: Sequence) -> None:
        """Remove a sequence, waiting or running, and free its KV region."""
        if sequence.is_running:
            self._free(sequence)
        else:
            self.waiting.remove(sequence)
        sequence.status = Status.FINISHED

    def _extend_running(self, of_batches: bool) -> list[Allocation]:
        """Give each running sequence of a kind an entry for its next token, the oldest first.

        Where there is none the youngest is preempted, one of a batch before others.
        """
        extended = []
        for sequence in [each for each in self.running if each.request.is_batch == of_batches]:
            while sequence.is_running and _is_full(sequence):
                allocation = self._allocator.extend(sequence.region, _capacity_for(sequence))
                if allocation is None:
                    self.preempt(self._youngest_of_batch() or self.running[-1])
                    continue
                sequence.region = allocation.region
                extended.append(allocation)
        return extended

    def _youngest_of_batch(self) -> Sequence | None:
        return next((each for each in reversed(self.running) if each.request.is_batch), None)

    def _admit(self, of_batches: bool) -> list[Allocation]:
        """Admit the oldest waiting sequences, as far as slots and the KV cache have room.

        Those of batches make room for others, who wait for no prefill of a batch: that may stand
        still.
        """
        admitted = []
        slow = [] if of_batches else [each.region for each in self.running if each.request.is_batch]
        for sequence in self.candidates(of_batches=of_batches):
            if sequence.status is not Status.READY:
                break
            if self._allocator.is_worth_waiting_for(sequence.cache_key, slow):
                continue  # in a moment it is cached
            capacity = _capacity_for(sequence)
            while (
                allocation := self._allocator.allocate(sequence.cache_key, capacity)
            ) is None and not of_batches:
                if (youngest := self._youngest_of_batch()) is None:
                    break
                self.preempt(youngest)
            if allocation is None:
                break
            self.waiting.remove(sequence)
            self.running.append(sequence)
            sequence.start_prefill(allocation)
            admitted.append(allocation)
        return admitted

    def _free(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._allocator.free(sequence.region, sequence.leave_region())


def _is_full(sequence: Sequence) -> bool:
    return sequence.num_computed_tokens == sequence.region.capacity


def _capacity_for(sequence: Sequence) -> int:
    """Return how many entries to allocate: for all tokens so far, and some of what is to come."""
    return len(sequence.tokens) + min(sequence.output.num_tokens_left, _DECODE_RESERVE)
