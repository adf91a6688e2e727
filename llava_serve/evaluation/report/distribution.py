"""Distribution of many times in fixed memory: quantiles to one per cent, and a histogram."""

import math
from dataclasses import dataclass, field

from llava_serve.evaluation.report.run_report import TimeBar, Times

_SMALLEST_S = 1e-4  # what is shorter counts as this
_GROWTH = 1.02  # each bin is so many times as long as the one before
_STEP = math.log(_GROWTH)
_BARS = 24


@dataclass(slots=True)
class TimeDistribution:
    """Times in seconds, counted in bins whose width grows with the time.

    Source of the idea: Masson, Rim and Lee 2019, "DDSketch".
    """

    counts: dict[int, int] = field(default_factory=dict)
    n: int = 0
    total_s: float = 0.0
    least_s: float = math.inf
    most_s: float = 0.0

    def add(self, time_s: float) -> None:
        """Count a time; one that no clock can have measured is left out."""
        if not math.isfinite(time_s) or time_s < 0:
            return
        at = math.floor(math.log(max(time_s, _SMALLEST_S) / _SMALLEST_S) / _STEP)
        self.counts[at] = self.counts.get(at, 0) + 1
        self.n += 1
        self.total_s += time_s
        self.least_s = min(self.least_s, time_s)
        self.most_s = max(self.most_s, time_s)

    def quantile(self, fraction: float) -> float:
        """Return a time that this fraction of all do not exceed, to one per cent."""
        wanted, seen = max(1, math.ceil(fraction * self.n)), 0
        for at in sorted(self.counts):
            seen += self.counts[at]
            if seen >= wanted:
                break
        middle = float(_SMALLEST_S * _GROWTH ** (at + 0.5))
        return min(max(middle, self.least_s), self.most_s)

    def times(self) -> Times | None:
        """Return what the report says of them; None where there are none."""
        if self.n == 0:
            return None
        return Times(
            n=self.n,
            mean_s=self.total_s / self.n,
            p50_s=self.quantile(0.5),
            p90_s=self.quantile(0.9),
            p99_s=self.quantile(0.99),
            most_s=self.most_s,
            histogram=self._histogram(),
        )

    def _histogram(self) -> list[TimeBar]:
        """Join the bins to bars of equal width on a logarithmic scale."""
        first, last = min(self.counts), max(self.counts)
        width = max(1, math.ceil((last + 1 - first) / _BARS))
        bars: dict[int, int] = {}
        for at, count in self.counts.items():
            bar = (at - first) // width
            bars[bar] = bars.get(bar, 0) + count
        return [
            TimeBar(
                low_s=_SMALLEST_S * _GROWTH ** (first + bar * width),
                high_s=_SMALLEST_S * _GROWTH ** (first + (bar + 1) * width),
                n=bars.get(bar, 0),
            )
            for bar in range(max(bars) + 1)
        ]
