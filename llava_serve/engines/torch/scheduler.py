"""Scheduler: admits sequences, gives them KV regions, preempts them, and fills each step.

First come, first served. In each step every decoding sequence advances by one token, and the rest
of the prefill budget goes to prompts, the oldest first: a long prompt is computed in chunks, so
that the answers beside it keep moving.
"""

import logging
from collections import deque
from dataclasses import dataclass

from llava_serve import logs
from llava_serve.engines.torch.kv_cache import Allocation, KVAllocator
from llava_serve.engines.torch.sequence import Sequence, Status

logger = logging.getLogger(__name__)

_DECODE_RESERVE = 256  # places that are allocated for an answer when it starts, and as they run out


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
        """Prefill `prefill_budget` tokens in a step beside decoding sequences, else the other."""
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
        return [*self.running, *self.waiting]

    @property
    def is_decoding(self) -> bool:
        """Say whether any answer waits for the step."""
        return any(sequence.status is Status.DECODE for sequence in self.running)

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def candidates(self) -> list[Sequence]:
        """Return the oldest waiting sequences, one for each free slot."""
        free = self._slots - len(self.running)
        return [self.waiting[i] for i in range(min(free, len(self.waiting)))]

    def schedule(self) -> ScheduledStep:
        """Choose what the next forward pass computes; preempts where the KV cache is full."""
        allocations = [*self._extend_running(), *self._admit()]
        tokens = [ScheduledTokens(each, 1) for each in self.running if each.status is Status.DECODE]
        budget = self._prefill_budget if tokens else self._idle_prefill_budget
        for sequence in self.running:
            if sequence.status is Status.PREFILL and budget > 0:
                count = min(budget, sequence.num_uncomputed_tokens)
                tokens.append(ScheduledTokens(sequence, count))
                budget -= count
        return ScheduledStep(tokens, allocations)

    def preempt(self, sequence: Sequence) -> None:
        """Free its slot and KV region; it is the next to get them and computes its tokens again."""
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

    def _extend_running(self) -> list[Allocation]:
        """Give each running sequence a place for its next token, the oldest first.

        Where there is none the youngest is preempted.
        """
        moved = []
        for sequence in list(self.running):
            while sequence.is_running and _is_full(sequence):
                allocation = self._allocator.extend(sequence.region, _capacity_for(sequence))
                if allocation is None:
                    self.preempt(self.running[-1])
                    continue
                sequence.region = allocation.region
                moved.append(allocation)
        return moved

    def _admit(self) -> list[Allocation]:
        """Admit the oldest waiting sequences, as far as slots and the KV cache have room."""
        admitted = []
        for sequence in self.candidates():
            if sequence.status is not Status.READY:
                break
            if self._allocator.is_being_prefilled(sequence.keys):
                continue  # in a moment it is cached
            allocation = self._allocator.allocate(sequence.keys, _capacity_for(sequence))
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
    """Return how many places to allocate: for all tokens so far, and some of what is to come."""
    return len(sequence.tokens) + min(sequence.output.num_tokens_left, _DECODE_RESERVE)
