"""Statistics of credits from 0 to 1: Wilson's interval, paired differences, McNemar's test.

Every interval is one of 95 %, for questions that are independent of each other: where a data set
asks several of one image, the true intervals are somewhat wider.
"""

import math
from dataclasses import dataclass

_Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution

Interval = tuple[float, float]


def wilson_interval(mean: float, n: int) -> Interval:
    """Return the score interval of a mean of `n` credits; (0, 1) where there are none.

    Credits between 0 and 1 vary at most as much as right and wrong answers of the same mean do
    (their variance is at most mean * (1 - mean)), so for them the interval is rather too wide.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference";
    the bound of the variance: Bhatia and Davis 2000, "A Better Bound on the Variance".
    """
    if n == 0:
        return 0.0, 1.0
    spread = _Z**2 / n
    middle = (mean + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(max(0.0, mean * (1 - mean)) / n + spread / n / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(slots=True)
class PairedTally:
    """Sums over pairs of credits of the same question, the second of each less the first."""

    n: int = 0
    first: float = 0.0
    second: float = 0.0
    squares: float = 0.0
    only_first: int = 0  # pairs in which the first is worth more
    only_second: int = 0

    def add(self, first: float, second: float) -> None:
        """Count a question."""
        self.n += 1
        self.first += first
        self.second += second
        self.squares += (second - first) ** 2
        self.only_first += first > second
        self.only_second += second > first

    @property
    def difference(self) -> float:
        """Mean of second less first; there must be a pair."""
        return (self.second - self.first) / self.n

    @property
    def interval(self) -> Interval:
        """Interval of `difference`: Wald's with one pair more in each direction.

        For right and wrong answers it is Bonett's and Price's. Theirs is the interval of the mean
        of the differences after adding one of +1 and one of -1, which is defined for credits
        between as well.

        Source: Bonett and Price 2012, "Adjusted Wald Confidence Interval for a Difference of
        Binomial Proportions Based on Paired Data"; recommended by Fagerland, Lydersen and Laake
        2014, "Recommended tests and confidence intervals for paired binomial proportions".
        """
        n = self.n + 2
        mean = (self.second - self.first) / n
        variance = max(0.0, (self.squares + 2) / n - mean**2)
        half = _Z * math.sqrt(variance / n)
        return max(-1.0, mean - half), min(1.0, mean + half)

    @property
    def p_value(self) -> float:
        """`mcnemar` of the pairs; of credits between 0 and 1 it is the sign test of them."""
        return mcnemar(self.only_first, self.only_second)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided mid-p value of McNemar's test from the two discordant counts.

    It is how rarely chance alone would set the two so far apart. Mid-p serves few and many pairs
    alike: it is neither as timid as the exact conditional test nor too bold as chi-square may be.

    Source: Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs data:
    mid-p and asymptotic are better than exact conditional".
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0 - (_binomial(n, fewer) / 2 if n else 0.0)
    return min(1.0, 2 * math.fsum(_binomial(n, k) for k in range(fewer)) + _binomial(n, fewer))


def _binomial(n: int, k: int) -> float:
    """Return the probability of `k` heads among `n` throws of a fair coin."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways - n * math.log(2))
