"""Scaling policy: how many replicas a model should have, from its waiting line and its load."""

import math
from dataclasses import dataclass, field

_WAITED_S = 3.0  # so long requests wait before there is another replica


@dataclass(frozen=True, slots=True)
class Demand:
    """What a controller says of a model: requests that wait and run, slots of one replica."""

    waiting: int
    running: int
    slots: int


@dataclass(slots=True)
class ScalingPolicy:
    """Decides between `least` and `most` replicas; one goes after `idle_after_s` without need."""

    least: int
    most: int
    idle_after_s: float
    _waiting_since: float | None = field(default=None, init=False)
    _idle_since: float | None = field(default=None, init=False)

    def target(self, now: float, demand: Demand, ready: int, starting: int) -> int:
        """Return how many replicas there should be, of which so many are there."""
        count = ready + starting
        self._waiting_since = _since(self._waiting_since, demand.waiting > 0, now)
        # One less would still have a free slot.
        is_idle = not demand.waiting and demand.running < (count - 1) * demand.slots
        self._idle_since = _since(self._idle_since, is_idle and not starting, now)
        if self._waiting_since is not None and now - self._waiting_since >= _WAITED_S:
            wanted = math.ceil(demand.waiting / max(1, demand.slots))
            count = ready + max(starting, wanted)
        elif self._idle_since is not None and now - self._idle_since >= self.idle_after_s:
            self._idle_since = now
            count -= 1
        return min(max(count, self.least), self.most)


def _since(before: float | None, is_so: bool, now: float) -> float | None:
    if not is_so:
        return None
    return now if before is None else before
