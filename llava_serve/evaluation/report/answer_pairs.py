"""Tally of two runs: their answers to the same questions counted as they stream by in pairs."""

import heapq
import math
import zlib
from dataclasses import dataclass, field

from llava_serve.evaluation.graded_answer import GradedAnswer
from llava_serve.evaluation.report.calibration import confidence_of
from llava_serve.evaluation.report.paired_score import add_pair
from llava_serve.evaluation.report.run_comparison import AnswerPair, Better
from llava_serve.evaluation.report.run_tally import KindNames, shortened, truth_shown
from llava_serve.evaluation.report.statistics import PairedTally

EXAMPLES = 24
_EACH = EXAMPLES // 3  # that A answered better, that B did, and other texts of equal credit


@dataclass(slots=True)
class PairsTally:
    """Counts of the questions that stand in both files."""

    common: int = 0
    both_answered: int = 0
    same_text: int = 0
    failed: list[int] = field(default_factory=lambda: [0, 0])
    total: PairedTally = field(default_factory=PairedTally)
    kinds: dict[str, PairedTally] = field(default_factory=dict)
    _names: KindNames = field(default_factory=KindNames)
    _examples: dict[Better, list[tuple[float, int, int, AnswerPair]]] = field(
        default_factory=lambda: {"A": [], "B": [], None: []}
    )

    def add(self, a: GradedAnswer, b: GradedAnswer) -> None:
        """Count a question."""
        self.common += 1
        self.failed[0] += a.failure is not None
        self.failed[1] += b.failure is not None
        if a.text is not None and b.text is not None:
            self.both_answered += 1
            self.same_text += a.text == b.text
        kind = self.kinds.setdefault(self._names.name(a.kind), PairedTally())
        if add_pair(self.total, a, b):
            add_pair(kind, a, b)
        if a.text is not None and b.text is not None and a.text != b.text:
            self._show(_pair(a, b))

    def _show(self, pair: AnswerPair) -> None:
        """Keep those furthest apart; among equals, ones from all over the task."""
        a, b = pair.credits
        difference = 0.0 if a is None or b is None else abs(b - a)
        kept = self._examples[pair.better]
        ranked = (difference, zlib.crc32(b"%d" % pair.index), pair.index, pair)
        if len(kept) < _EACH:
            heapq.heappush(kept, ranked)
        elif ranked[:3] > kept[0][:3]:
            heapq.heapreplace(kept, ranked)

    def examples(self) -> list[AnswerPair]:
        """Return questions that A answered better, then ones that B did, then all others."""
        return [
            one[3]
            for kept in self._examples.values()
            for one in sorted(kept, key=lambda one: (-one[0], one[2]))
        ]


def _pair(a: GradedAnswer, b: GradedAnswer) -> AnswerPair:
    return AnswerPair(
        index=a.index,
        id=a.id,
        kind=a.kind,
        prompt=shortened(a.prompt),
        truth=truth_shown(a.truth),
        texts=(shortened(a.text or ""), shortened(b.text or "")),
        credits=(a.credit, b.credit),
        confidences=(_confidence(a), _confidence(b)),
    )


def _confidence(answer: GradedAnswer) -> float | None:
    known = answer.logprob is not None and math.isfinite(answer.logprob)
    return confidence_of(answer.logprob or 0.0) if known else None
