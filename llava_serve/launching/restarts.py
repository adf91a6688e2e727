"""When a process that died is started again: pure, the time comes in as an argument."""

from dataclasses import dataclass

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_HEALTHY_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often in a row a process died young."""

    deaths: int = 0

    def after_death(self, lived_s: float) -> "Restarts":
        """A minute of life forgives what was before."""
        return Restarts(1 if lived_s >= _HEALTHY_AFTER_S else self.deaths + 1)

    @property
    def delay_s(self) -> float:
        """Seconds to wait before the next start: 1, 2, 4 and so on, up to 30."""
        doublings = min(self.deaths - 1, 10)  # far beyond the longest delay, far below overflow
        return min(_FIRST_DELAY_S * 2.0**doublings, _LONGEST_DELAY_S)
