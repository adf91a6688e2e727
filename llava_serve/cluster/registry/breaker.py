"""Circuit breaker of one worker: whether requests may go to it, after how many failures."""

from dataclasses import dataclass
from enum import StrEnum

from llava_serve.retry import backoff_s

_FIRST_S, _LONGEST_S = 0.5, 15.0
_STABLE_S = 60.0  # between two failures that have nothing to do with each other


class BreakerState(StrEnum):
    """Closed: requests go to the worker. Open: none does. Half-open: one at a time tries it."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed at first; each event returns the breaker behind it.

    A failure opens it. What the worker says of itself makes it half-open, not before `open_s` is
    over, which grows with the failures in a row; the answer to a request closes it.

    Source: Nygard, Release It!, 2nd edition, 2018, "Circuit Breaker".
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0  # in a row, each soon after the last
    failed_at: float = 0.0

    @property
    def open_s(self) -> float:
        """How long it stays open at least."""
        return probe_wait_s(self.failures - 1)

    def fail(self, now: float) -> "Breaker":
        """Open: a request failed there; those that it breaks off at once count as one failure."""
        if self.state is BreakerState.OPEN:
            return self
        is_soon = now - self.failed_at < _STABLE_S
        return Breaker(BreakerState.OPEN, self.failures + 1 if is_soon else 1, now)

    def miss(self) -> "Breaker":
        """Open: the worker was silent, of which no request is known to have failed."""
        return Breaker(BreakerState.OPEN, self.failures, self.failed_at)

    def doubt(self, now: float) -> "Breaker":
        """Open until the worker says that it lives: it failed somebody else."""
        if self.failures:
            return Breaker(BreakerState.OPEN, self.failures, self.failed_at)
        return Breaker(BreakerState.OPEN, 1, now)

    def live(self, now: float) -> "Breaker":
        """Half-open, if it was open for long enough: the worker says that it lives."""
        if self.state is not BreakerState.OPEN or now < self.failed_at + self.open_s:
            return self
        return self.restart()

    def restart(self) -> "Breaker":
        """Half-open after failures: a process begins at the worker's address."""
        state = BreakerState.HALF_OPEN if self.failures else BreakerState.CLOSED
        return Breaker(state, self.failures, self.failed_at)


CLOSED = Breaker()


def probe_wait_s(attempt: int) -> float:
    """Return the seconds to wait before probe number `attempt`, from 0, which comes at once."""
    return backoff_s(attempt - 1, _FIRST_S, _LONGEST_S) if attempt > 0 else 0.0
