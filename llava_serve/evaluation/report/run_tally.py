"""Tally of one run: its graded answers counted as they stream by, in memory that does not grow."""

import heapq
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.report.calibration import Calibration, confidence_of
from llava_serve.evaluation.report.distribution import TimeDistribution
from llava_serve.evaluation.report.run_report import KindScore, TokenSum, WorstAnswer
from llava_serve.evaluation.report.statistics import wilson_interval

MAX_KINDS = 200
OTHER_KINDS = "(all other kinds)"
WORST = 24
_WRONG = 0.5  # credit below which an answer is shown as wrong
_LONGEST = 1000  # characters of a text in the report


class KindNames:
    """Names of the first kinds that are met; those beyond `MAX_KINDS` count as one."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def name(self, kind: str) -> str:
        """Return under which name a kind is counted."""
        if kind not in self._known and len(self._known) >= MAX_KINDS:
            return OTHER_KINDS
        self._known.add(kind)
        return kind


@dataclass(slots=True)
class CreditCount:
    """Answers of one kind."""

    n: int = 0
    failed: int = 0
    ungraded: int = 0
    credit: float = 0.0

    def add(self, answer: GradedAnswer) -> None:
        if answer.failure is not None:
            self.failed += 1
        elif answer.credit is None:
            self.ungraded += 1
        else:
            self.n += 1
            self.credit += answer.credit

    @property
    def mean(self) -> float | None:
        return self.credit / self.n if self.n else None

    def score(self, kind: str) -> KindScore:
        mean = self.mean
        return KindScore(
            kind=kind,
            n=self.n,
            failed=self.failed,
            ungraded=self.ungraded,
            mean_credit=mean,
            interval=None if mean is None else wilson_interval(mean, self.n),
        )


@dataclass(slots=True)
class RunTally:
    """Counts of a run; `kinds` is in the order in which kinds are met."""

    total: CreditCount = field(default_factory=CreditCount)
    kinds: dict[str, CreditCount] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    first_token: TimeDistribution = field(default_factory=TimeDistribution)
    total_time: TimeDistribution = field(default_factory=TimeDistribution)
    calibration: Calibration = field(default_factory=Calibration)
    tokens: list[int] = field(default_factory=lambda: [0, 0, 0])  # answers, sum, most
    _names: KindNames = field(default_factory=KindNames)
    _worst: list[tuple[float, int, int, WorstAnswer]] = field(default_factory=list)

    def add(self, answer: GradedAnswer) -> None:
        """Count an answer."""
        self.total.add(answer)
        kind = self._names.name(answer.kind)
        self.kinds.setdefault(kind, CreditCount()).add(answer)
        if answer.failure is not None:
            self.failures[answer.failure] = self.failures.get(answer.failure, 0) + 1
            return
        if answer.first_token_s is not None:
            self.first_token.add(answer.first_token_s)
        if answer.total_s is not None:
            self.total_time.add(answer.total_s)
        if answer.tokens is not None:
            n, total, most = self.tokens
            self.tokens = [n + 1, total + answer.tokens, max(most, answer.tokens)]
        if answer.credit is not None:
            self._add_graded(answer, answer.credit)

    def _add_graded(self, answer: GradedAnswer, credit: float) -> None:
        logprob = answer.logprob
        if logprob is not None and math.isfinite(logprob):
            self.calibration.add(logprob, credit)
        else:
            logprob = None
        if credit < _WRONG:
            # Those without a probability come last; among equals, ones from all over the task.
            surety = -math.inf if logprob is None else min(0.0, logprob)
            rank = (surety, zlib.crc32(b"%d" % answer.index), answer.index)
            if len(self._worst) < WORST:
                heapq.heappush(self._worst, (*rank, _worst(answer, credit, logprob)))
            elif rank > self._worst[0][:3]:
                heapq.heapreplace(self._worst, (*rank, _worst(answer, credit, logprob)))

    def worst(self) -> list[WorstAnswer]:
        """Return wrong answers, those that the model was surest of first."""
        return [one[3] for one in sorted(self._worst, key=lambda one: (-one[0], one[2]))]

    def token_sum(self) -> TokenSum | None:
        """Return the generated tokens; None where no server told them."""
        n, total, most = self.tokens
        return TokenSum(n=n, total=total, mean=total / n, most=most) if n else None


def _worst(answer: GradedAnswer, credit: float, logprob: float | None) -> WorstAnswer:
    return WorstAnswer(
        index=answer.index,
        id=answer.id,
        kind=answer.kind,
        prompt=shortened(answer.prompt),
        truth=truth_shown(answer.truth),
        text=shortened(answer.text or ""),
        parsed=None if answer.parsed is None else shortened(answer.parsed),
        credit=credit,
        confidence=None if logprob is None else confidence_of(logprob),
    )


def shortened(text: str) -> str:
    """Return a text that a report has room for."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def truth_shown(truth: Any) -> Any:
    """Return a truth as it is, or where it is long its text, cut."""
    text = str(truth)
    return truth if len(text) <= _LONGEST else shortened(text)
