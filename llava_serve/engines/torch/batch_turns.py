"""Batch turns: when the answers of batches advance, so that others hardly notice them.

While other answers are made, and a moment after them, those of batches stand still but for steps of
their own, which together take a small part of that time: batches get on under any load. A step that
an arrival may have to wait for is a short one.
"""

import time
from collections.abc import Callable, Iterable

from llava_serve.engines.torch.sequence import Sequence

SHORTER = 4  # times than a step beside decoding sequences: an arrival waits for half of it
_FRACTION = 0.03  # of the time of others
_MOST_CREDIT_S = 0.2
_QUIET_S = 0.1  # behind others: who asks one thing after the other asks again before


class BatchTurns:
    """The credit that batches have for steps of their own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._credit_s = 0.0
        self._credited_at = clock()
        self._others_at = float("-inf")  # when there were others last

    def is_next(self, sequences: Iterable[Sequence]) -> bool | None:
        """Tell whether the next step is the batches'; None: there is nothing to do for a while."""
        now, has_others, has_batches = self._clock(), False, False
        for sequence in sequences:
            has_batches = has_batches or sequence.request.is_batch
            has_others = has_others or not sequence.request.is_batch
        if has_others:
            self._others_at = now
        if not has_batches:
            self._credit_s, self._credited_at = 0.0, now
            return False
        if now - self._others_at >= _QUIET_S:
            return True
        self._credit_s += (now - self._credited_at) * _FRACTION
        self._credit_s = min(self._credit_s, _MOST_CREDIT_S)
        self._credited_at = now
        if self._credit_s > 0:
            return True
        return False if has_others else None

    def count(self, took_s: float) -> None:
        """Count a step of the batches."""
        self._credit_s -= took_s
        self._credited_at = self._clock()

    @property
    def wait_s(self) -> float:
        """Return for how long there is nothing to do."""
        quiet_s = self._others_at + _QUIET_S - self._clock()
        return max(min(quiet_s, -self._credit_s / _FRACTION), 0.001)
