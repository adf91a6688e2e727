"""Calibration: whether answers of which a model is surer are right more often."""

import math
from dataclasses import dataclass, field

from llava_serve.evaluation.report.run_report import Reliability, ReliabilityBin

BINS = 10


def confidence_of(logprob: float) -> float:
    """Return the probability of an answer whose tokens' log-probabilities sum to `logprob`."""
    return math.exp(min(0.0, logprob))


@dataclass(slots=True)
class _Bin:
    n: int = 0
    confidence: float = 0.0
    credit: float = 0.0


@dataclass(slots=True)
class Calibration:
    """Answers by their probability, in ten bins of equal width."""

    bins: list[_Bin] = field(default_factory=lambda: [_Bin() for _ in range(BINS)])

    def add(self, logprob: float, credit: float) -> None:
        """Count a graded answer."""
        confidence = confidence_of(logprob)
        chosen = self.bins[min(BINS - 1, int(confidence * BINS))]
        chosen.n += 1
        chosen.confidence += confidence
        chosen.credit += credit

    def reliability(self) -> Reliability | None:
        """Return the bins and the expected calibration error; None where nothing was counted.

        That error is the mean distance of confidence and credit in a bin, weighted by answers.

        Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
        """
        n = sum(one.n for one in self.bins)
        if n == 0:
            return None
        error = sum(abs(one.credit - one.confidence) for one in self.bins) / n
        return Reliability(
            n=n,
            expected_calibration_error=error,
            mean_confidence=sum(one.confidence for one in self.bins) / n,
            bins=[
                ReliabilityBin(
                    low=at / BINS,
                    high=(at + 1) / BINS,
                    n=one.n,
                    confidence=one.confidence / one.n if one.n else None,
                    credit=one.credit / one.n if one.n else None,
                )
                for at, one in enumerate(self.bins)
            ],
        )
